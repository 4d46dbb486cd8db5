//! Commands that act: from an authorized invocation of a runbook with steps to a plan, and from a plan to a deployment.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use tokio_util::sync::CancellationToken;

use super::access::Authorized;
use super::gate::{self, Obstacle};
use super::{Bot, Refusal, views};
use crate::domain::build::{Build, BuildOutcome};
use crate::domain::deployment::{Occasion, Order};
use crate::domain::message::MessageRef;
use crate::domain::names::{DeploymentId, Digest, Tag};
use crate::domain::news::Verdict;
use crate::domain::observed::Observed;
use crate::domain::plan::{Plan, Purpose, Release, Target};
use crate::domain::planner::{self, PlanError};
use crate::domain::release::{Landed, revert_to, trail};
use crate::domain::spec::{EnvironmentSpec, Millis};
use crate::domain::step::{Aim, Step};
use crate::engine::ResolveError;
use crate::pipeline::{Asked, DeployLock};
use crate::runbook::{Flag, Invocation, Runbook, Work};
use crate::store::{Ask, PhaseName, RequestError, Summary};

/// How many deployments back `!revert` looks for a release that ended well.
pub const HISTORY_FOR_REVERT: usize = 500;

/// What a runbook's steps are about: the parts that its plan is made from.
struct Case<'a> {
    bot: &'a Bot,
    asked: &'a Invocation,
    spec: &'a EnvironmentSpec,
    aim: Aim,
    /// An earlier deployment is stuck, and this one is to mend it.
    mends: bool,
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning<'a> {
    /// To show it; nothing comes of it.
    Shown,
    /// To carry it out.
    Asked,
    /// To carry it out if it is still the one with this nonce.
    Again {
        /// The earlier plan's.
        nonce: &'a str,
    },
}

/// Makes the plan and touches nothing. `runbook` may be another one than the invocation's: `!plan` shows what `!deploy` would do.
///
/// # Errors
/// With what the person should know: hosts that don't answer, an unknown tag, nothing to do.
pub async fn plan(bot: &Bot, asked: &Invocation, runbook: &Runbook, planning: Planning<'_>) -> Result<Plan, Refusal> {
    let Work::Steps { aim, steps } = &runbook.work else {
        return Err(Refusal::told(format!("`{}` has no steps to plan", runbook.name)));
    };
    let (aim, spec) = (*aim, bot.environment(asked)?);
    let mends = bot.ledger.lock(&spec.app, &spec.environment)?.is_some_and(|holder| holder.phase == PhaseName::Stuck);
    let case = Case { bot, asked, spec, aim, mends };
    if planning != Planning::Shown && !case.reads_only() && aim == Aim::Current {
        bot.refuse_when_stuck(spec)?;
    }
    let (observed, release, warnings) = match aim {
        Aim::Build => {
            let tag = case.tag()?;
            // The registry is asked while the hosts are.
            let (observed, resolved) = tokio::join!(bot.observe(spec), case.build(&tag));
            let (release, warnings) = resolved?;
            (observed, release, warnings)
        }
        Aim::Previous => {
            let observed = bot.observe(spec).await;
            let release = case.previous(&observed)?;
            let warnings = case.migrations_since(&release)?;
            (observed, release, warnings)
        }
        Aim::Current => {
            let observed = bot.observe(spec).await;
            let release = case.current(&observed)?;
            (observed, release, Vec::new())
        }
    };
    let recorded: BTreeMap<Target, Release> =
        bot.ledger.records(&spec.app, &spec.environment)?.into_iter().map(|(target, record)| (target, record.current)).collect();
    let request = planner::Request {
        spec,
        observed: &observed,
        recorded: &recorded,
        purpose: case.purpose(),
        steps,
        aim,
        release,
        role: asked.role.as_ref(),
        mends,
        warnings,
        nonce: &match planning {
            Planning::Again { nonce } => nonce.to_owned(),
            Planning::Shown | Planning::Asked => nonce()?,
        },
    };
    planner::plan(request).map_err(|error| told(&spec.app.to_string(), error))
}

/// What became of a command that acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acted {
    /// It runs; the live message tells the rest.
    Started,
    /// It waits for votes or for its turn.
    Waits(DeploymentId),
}

/// Plans, takes the lock and starts, or waits for what is in the way.
///
/// # Errors
/// With what the person should know; then nothing was touched.
pub async fn act(
    bot: &Bot,
    asked: &Authorized<Invocation>,
    cause: Option<MessageRef>,
    occasion: Occasion,
) -> Result<Acted, Refusal> {
    if let Some(why) = bot.ledger.refuses_actions() {
        return Err(Refusal::told(why));
    }
    let withdrawn = Withdrawal::new(bot);
    let (invocation, spec) = (asked.what(), bot.environment(asked.what())?);
    let purpose = purpose_of(invocation);
    refuse(bot, spec, &purpose, &occasion, None)?;
    let plan = watched(plan(bot, invocation, &invocation.runbook, Planning::Asked).await?, &occasion);
    refuse(bot, spec, &purpose, &occasion, Some(&plan.release))?;
    if withdrawn.is_asked() {
        return Err(Refusal::Told(views::withdrawn(&plan)));
    }
    let waits = needs_votes(spec, invocation, &occasion);
    let through_lock = gate::through_lock(spec, &purpose, &occasion);
    let tag = matches!(invocation.runbook.work, Work::Steps { aim: Aim::Build, .. }).then(|| plan.release.tag.clone());
    let order = Order {
        command: invocation.runbook.name.clone(),
        tag: tag.or_else(|| invocation.tag.clone()),
        role: invocation.role.clone(),
        words: invocation.words.clone(),
        read: invocation.flags.contains(&Flag::Read),
        occasion,
    };
    let calls = match &order.occasion {
        Occasion::Emergency { .. } => bot.approvers(spec, asked.by()).await,
        Occasion::Person | Occasion::Build { .. } | Occasion::Bake { .. } | Occasion::Rehearsal => Vec::new(),
    };
    let ask = Ask { plan, by: asked.by().clone(), cause, order: Some(order), waits, through_lock, calls };
    match DeployLock::ask(&bot.ledger, ask, bot.now()).await {
        Ok(Asked::Started(lock)) => {
            bot.drive(lock);
            Ok(Acted::Started)
        }
        Ok(Asked::Waits(id)) => Ok(Acted::Waits(id)),
        Err(RequestError::Locked { by }) => Err(bot.held(&spec.app, &spec.environment, &by)),
        Err(RequestError::EnvironmentLocked { lock }) => Err(in_the_way(bot, spec, &Obstacle::Locked(*lock))),
        Err(RequestError::Ledger(error)) => Err(error.into()),
    }
}

/// The plan, watched afterwards as its occasion wants: a revert by itself isn't reverted by itself.
pub fn watched(plan: Plan, occasion: &Occasion) -> Plan {
    match occasion {
        Occasion::Bake { .. } => Plan { bake: Millis::default(), ..plan },
        Occasion::Person | Occasion::Emergency { .. } | Occasion::Build { .. } | Occasion::Rehearsal => plan,
    }
}

/// Refuses what can't start however long it waits.
fn refuse(
    bot: &Bot,
    spec: &EnvironmentSpec,
    purpose: &Purpose,
    occasion: &Occasion,
    release: Option<&Release>,
) -> Result<(), Refusal> {
    match bot.obstacle(spec, purpose, occasion, release, bot.now())? {
        Some(obstacle) => Err(in_the_way(bot, spec, &obstacle)),
        None => Ok(()),
    }
}

fn in_the_way(bot: &Bot, spec: &EnvironmentSpec, obstacle: &Obstacle) -> Refusal {
    Refusal::Told(views::obstacle(&spec.app, &spec.environment, obstacle, &bot.prefix, bot.now()))
}

/// Whether it waits for votes before anything else. That somebody says of a command that it only reads counts for nothing here.
fn needs_votes(spec: &EnvironmentSpec, asked: &Invocation, occasion: &Occasion) -> bool {
    matches!(occasion, Occasion::Person | Occasion::Build { .. }) && spec.policy.approval_of(&asked.runbook.name).is_some()
}

/// What a command is for.
pub fn purpose_of(asked: &Invocation) -> Purpose {
    match &asked.runbook.work {
        Work::Steps { steps, .. } if steps.contains(&Step::Run {}) => {
            Purpose::Run { command: asked.words.clone(), read: asked.flags.contains(&Flag::Read) }
        }
        Work::Steps { aim: Aim::Build, .. } => Purpose::Deploy,
        Work::Steps { aim: Aim::Previous, .. } => Purpose::Revert,
        Work::Steps { aim: Aim::Current, .. } | Work::Builtin(_) => Purpose::Restart,
    }
}

/// The newest good build, when the command is about a build and none was typed: it is named before it starts.
///
/// # Errors
/// When the ledger can't be read.
pub fn newest_if_none_named(bot: &Bot, asked: &Invocation) -> Result<Option<Build>, Refusal> {
    match (&asked.runbook.work, &asked.tag, &asked.app) {
        (Work::Steps { aim: Aim::Build, .. }, None, Some(app)) => Ok(bot.ledger.newest_good_build(app)?),
        _ => Ok(None),
    }
}

/// A command that is being planned, as long as it can still be taken back.
struct Withdrawal<'a> {
    bot: &'a Bot,
    asked: CancellationToken,
}

impl Withdrawal<'_> {
    fn new(bot: &Bot) -> Withdrawal<'_> {
        let asked = CancellationToken::new();
        bot.planning.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        Withdrawal { bot, asked }
    }

    fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        // Cancelled marks it as over, whoever did it; a cancel that comes now finds the deployment.
        self.asked.cancel();
        self.bot.planning.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !other.is_cancelled());
    }
}

impl Case<'_> {
    fn reads_only(&self) -> bool {
        matches!(self.purpose(), Purpose::Run { read: true, .. })
    }

    fn purpose(&self) -> Purpose {
        match purpose_of(self.asked) {
            // `!plan` asks with a runbook that isn't its own.
            Purpose::Restart if self.aim == Aim::Build => Purpose::Deploy,
            purpose => purpose,
        }
    }

    /// The tag that was typed, or that of the newest good build.
    fn tag(&self) -> Result<Tag, Refusal> {
        if let Some(tag) = &self.asked.tag {
            return Ok(tag.clone());
        }
        let newest = self.bot.ledger.newest_good_build(&self.spec.app)?;
        let none = || Refusal::told(format!("no good build of `{}` was announced yet; name a tag", self.spec.app));
        newest.map(|build| build.tag).ok_or_else(none)
    }

    /// What runs: seen on the hosts, or recorded where commands manage the services.
    fn current(&self, observed: &Observed) -> Result<Release, Refusal> {
        let seen = self.spec.roles.keys().flat_map(|role| targets(self.spec, role)).find_map(|target| runs(observed, &target));
        if let Some(release) = seen {
            return Ok(release);
        }
        let recorded = self.bot.ledger.records(&self.spec.app, &self.spec.environment)?.into_iter().next();
        let nothing = || Refusal::told(format!("nothing of `{}` runs in `{}`", self.spec.app, self.spec.environment));
        recorded.map(|(_, record)| record.current).ok_or_else(nothing)
    }

    /// The release of a tag, and what people should know of it.
    async fn build(&self, tag: &Tag) -> Result<(Release, Vec<String>), Refusal> {
        let known = self.bot.ledger.build(&self.spec.app, tag)?;
        let warnings = match known.as_ref().map(|build| build.outcome) {
            Some(BuildOutcome::Succeeded) => Vec::new(),
            Some(BuildOutcome::Unstable) => vec![format!("{tag} is unstable: its tests are not all green")],
            Some(outcome @ (BuildOutcome::Failed | BuildOutcome::Cancelled)) => {
                return Err(Refusal::told(format!("{tag} of `{}` {outcome}, so there is nothing to deploy", self.spec.app)));
            }
            None => vec![format!("no CI announced {tag}; it is taken from the registry as it is")],
        };
        match self.bot.engine.resolve(self.spec, tag).await {
            Ok(digest) => {
                let mut warnings = warnings;
                warnings.extend(known.and_then(|build| build.digest).and_then(|announced| moved(tag, &announced, &digest)));
                Ok((Release { tag: tag.clone(), digest }, warnings))
            }
            Err(error @ ResolveError::Unknown { .. }) => {
                let newest = self.bot.ledger.newest_good_build(&self.spec.app)?;
                let hint = newest.map_or_else(String::new, |build| format!("; the newest good build is `{}`", build.tag));
                Err(Refusal::told(format!("{error}{hint}")))
            }
            Err(error @ ResolveError::Unavailable(_)) => Err(Refusal::told(format!("{error}; nothing was touched"))),
        }
    }

    /// Where a revert goes: to the tag that was named, if it ever ended well here, else back by one.
    fn previous(&self, observed: &Observed) -> Result<Release, Refusal> {
        let (app, environment) = (&self.spec.app, &self.spec.environment);
        let trail = trail(self.landed()?);
        if let Some(tag) = &self.asked.tag {
            let known = trail.iter().rev().find(|release| release.tag == *tag).cloned();
            return match known {
                Some(release) => Ok(release),
                None => self.ever_landed(tag)?.ok_or_else(|| {
                    Refusal::told(format!("{tag} never ended well in `{app}` `{environment}`; `deploy` it instead"))
                }),
            };
        }
        let newest = trail.last();
        let all_newest =
            self.spec.roles.keys().flat_map(|role| targets(self.spec, role)).all(|target| match runs(observed, &target) {
                Some(seen) => Some(&seen.digest) == newest.map(|release| &release.digest),
                None => observed.tag(&target) == newest.map(|release| &release.tag),
            });
        // Whatever the containers say: after a stuck deployment the fleet isn't known to be well.
        revert_to(&trail, all_newest && !self.mends).cloned().ok_or_else(|| {
            let runs = newest.map_or_else(String::new, |release| format!(" before {}", release.tag));
            Refusal::told(format!("no release of `{app}` ended well in `{environment}`{runs}, so there is none to go back to"))
        })
    }

    /// The deploys and reverts that ended well, the oldest first. A command that ran in a release's image proves nothing of it: a
    /// rehearsal does, before anybody approved.
    fn landed(&self) -> Result<Vec<Landed>, Refusal> {
        let mut history = self.bot.ledger.history(&self.spec.app, Some(&self.spec.environment), HISTORY_FOR_REVERT, None)?;
        history.retain(|summary| summary.verdict() == Verdict::Good);
        history.reverse();
        Ok(history.into_iter().map(|Summary { purpose, release, .. }| Landed { purpose, release }).collect())
    }

    fn ever_landed(&self, tag: &Tag) -> Result<Option<Release>, Refusal> {
        Ok(self.landed()?.into_iter().rev().map(|landed| landed.release).find(|release| release.tag == *tag))
    }

    /// What a revert can't take back: tasks that changed data since the release that it goes to.
    fn migrations_since(&self, release: &Release) -> Result<Vec<String>, Refusal> {
        let history = self.bot.ledger.history(&self.spec.app, Some(&self.spec.environment), HISTORY_FOR_REVERT, None)?;
        let since = history.iter().take_while(|summary| summary.verdict() != Verdict::Good || summary.release != *release);
        let ran = since.filter(|summary| !summary.irreversible.is_empty());
        let said = ran.map(|summary| {
            let tasks: Vec<String> = summary.irreversible.iter().map(ToString::to_string).collect();
            format!(
                "{} ran with {} ({}) since {}, and is not taken back",
                tasks.join(", "),
                summary.id,
                summary.release.tag,
                release.tag
            )
        });
        Ok(said.collect())
    }
}

fn targets<'a>(spec: &'a EnvironmentSpec, role: &'a crate::domain::names::RoleName) -> impl Iterator<Item = Target> + 'a {
    spec.roles.get(role).into_iter().flat_map(|spec| &spec.hosts).map(|host| Target { role: role.clone(), host: host.clone() })
}

fn runs(observed: &Observed, target: &Target) -> Option<Release> {
    observed.running(target).map(|container| container.release.clone())
}

fn moved(tag: &Tag, announced: &Digest, now: &Digest) -> Option<String> {
    let text = || {
        format!(
            "{tag} was announced as {} and the registry now has {}: someone pushed the tag again",
            announced.short(),
            now.short()
        )
    };
    (announced != now).then(text)
}

fn told(app: &str, error: PlanError) -> Refusal {
    match error {
        PlanError::NothingToDo { .. } => Refusal::fine(error.to_string()),
        PlanError::Unreachable(_) | PlanError::DiskFull(_) => Refusal::told(format!("{error}; nothing was touched")),
        PlanError::NothingRuns(_) | PlanError::NoSuchRole(_) => Refusal::told(format!("`{app}`: {error}")),
    }
}

/// Six hexadecimal digits that no other plan has.
pub fn nonce() -> Result<String, Refusal> {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::told(format!("the system has no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}
