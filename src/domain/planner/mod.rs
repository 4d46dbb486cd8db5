//! The planner: a runbook's steps, the fleet's wishes and what the hosts really run become a [`Plan`].
//!
//! It is pure, and it decides everything: which container stops, which starts, on which port, what is kept, what is
//! pruned. The surprising choice: a target that is already right still gets its health check and its place in the
//! balancer in the plan, so the same `!deploy` that ships a build also mends what a lost host left behind.
//!
//! | file | what |
//! |---|---|
//! | `turn` | what runs at one target, and what shall |
//! | `switch` | from there to the actions of one target |
//! | `roll` | which targets go at the same time, and in which order |
//! | `rehearsal` | a command that changes nothing, from the image of a plan that isn't carried out yet |
//! | `tasks` | what runs once: the environment's tasks, and a typed command |
//! | `tidy` | TAG and REVERT, and what nobody goes back to |

mod rehearsal;
mod roll;
mod switch;
mod tasks;
mod tidy;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

pub use self::rehearsal::rehearsal;
use self::turn::Turn;
use super::names::{HostName, RoleName};
use super::observed::Observed;
use super::plan::{Action, Before, Lane, Plan, Purpose, Release, Revisions, Stage, Target, container_name};
use super::policy::OnFailure;
use super::spec::{EnvironmentSpec, Millis};
use super::step::{Aim, Step};

/// How many hosts are asked for their state, or tidied up, at the same time.
const HOSTS_AT_ONCE: usize = 32;

/// What a plan is made from.
pub struct Request<'a> {
    /// The environment as the fleet file wants it.
    pub spec: &'a EnvironmentSpec,
    /// What its hosts really run.
    pub observed: &'a Observed,
    /// What the bot recorded of each target when it last deployed there.
    pub recorded: &'a BTreeMap<Target, Release>,
    /// What was asked for.
    pub purpose: Purpose,
    /// The runbook's steps.
    pub steps: &'a [Step],
    /// The release that the runbook is about.
    pub aim: Aim,
    /// That release.
    pub release: Release,
    /// Only this role, if one was named.
    pub role: Option<&'a RoleName>,
    /// An earlier deployment is stuck. Nobody knows then what the balancer does, so a plan that only checks is worth running.
    pub mends: bool,
    /// What people should know, from those who asked.
    pub warnings: Vec<String>,
    /// Makes the names of new containers unique. Planning the same request again takes the same one.
    pub nonce: &'a str,
}

/// Why there is no plan. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Hosts that must take part don't answer.
    #[error("{}", .0.iter().map(|(host, why)| format!("{host}: {why}")).collect::<Vec<_>>().join("\n"))]
    Unreachable(Vec<(HostName, String)>),
    /// Hosts have too little space.
    #[error("{}", .0.iter().map(|(host, free, min)| format!("{host} has {free} MiB free and needs {min}; remove what it doesn't need, or lower `min_free_mib`")).collect::<Vec<_>>().join("\n"))]
    DiskFull(Vec<(HostName, u64, u64)>),
    /// Everything is as it should be.
    #[error("nothing to do: all {targets} targets run `{tag}` already")]
    NothingToDo {
        /// How many.
        targets: usize,
        /// Of what.
        tag: String,
    },
    /// The command is about what runs, and nothing runs.
    #[error("nothing of it runs, so there is nothing to {0}")]
    NothingRuns(&'static str),
    /// The environment has no such role.
    #[error("no role `{0}` in this environment")]
    NoSuchRole(RoleName),
}

/// Makes the plan.
///
/// # Errors
/// When the hosts aren't fit for it, or there is nothing to do.
pub fn plan(request: Request<'_>) -> Result<Plan, PlanError> {
    let planner = Planner::new(request)?;
    planner.fit()?;
    let mut stages = Vec::new();
    for step in planner.request.steps {
        stages.extend(planner.stages(step)?);
    }
    stages.retain(|stage| !stage.lanes.is_empty());
    planner.finish(stages)
}

struct Planner<'a> {
    request: Request<'a>,
    /// Every target of the environment (or of the one role that was named) by role.
    turns: BTreeMap<RoleName, Vec<Turn<'a>>>,
}

impl<'a> Planner<'a> {
    fn new(request: Request<'a>) -> Result<Self, PlanError> {
        if let Some(role) = request.role
            && !request.spec.roles.contains_key(role)
        {
            return Err(PlanError::NoSuchRole(role.clone()));
        }
        let named = request.spec.roles.iter().filter(|(name, _)| request.role.is_none_or(|wanted| wanted == *name));
        let turns = named.map(|(name, role)| {
            let of_role = role.hosts.iter().map(|host| Turn::new(&request, name, role, host)).collect();
            (name.clone(), of_role)
        });
        let turns = turns.collect();
        Ok(Planner { request, turns })
    }

    fn all_turns(&self) -> impl Iterator<Item = &Turn<'a>> {
        self.turns.values().flatten()
    }

    fn turns_on(&self, host: &HostName) -> impl Iterator<Item = &Turn<'a>> {
        self.all_turns().filter(move |turn| &turn.target.host == host)
    }

    /// The hosts that take part. A typed command needs one host only, and must be possible while another one is down.
    fn hosts(&self) -> BTreeSet<HostName> {
        let of_one_host = |step: &Step| matches!(step, Step::Preflight {} | Step::Run {} | Step::Wait { .. });
        let asks_one = self.request.steps.contains(&Step::Run {}) && self.request.steps.iter().all(of_one_host);
        if let (true, Some(turn)) = (asks_one, self.runs_command()) {
            return BTreeSet::from([turn.target.host.clone()]);
        }
        let of_turns = self.all_turns().map(|turn| turn.target.host.clone());
        of_turns.chain(self.tasks().map(|(target, _)| target.host)).collect()
    }

    /// The free space that a host must have: what is pulled needs some, what only goes back to a kept container doesn't.
    fn min_free_mib(&self, host: &HostName) -> u64 {
        let pulls = self.request.steps.contains(&Step::Pull {}) && self.pulling().contains(host);
        if pulls { self.request.spec.min_free_mib } else { 0 }
    }

    /// Every host answers and has the space.
    fn fit(&self) -> Result<(), PlanError> {
        let (mut lost, mut full) = (Vec::new(), Vec::new());
        for host in self.hosts() {
            let min = self.min_free_mib(&host);
            match self.request.observed.hosts.get(&host) {
                Some(Ok(seen)) if seen.free_mib < min => full.push((host, seen.free_mib, min)),
                Some(Ok(_)) => {}
                Some(Err(why)) => lost.push((host, why.to_string())),
                None => lost.push((host, "it was not asked".to_owned())),
            }
        }
        if self.uses_balancer() {
            lost.extend(self.request.observed.lost_balancers.iter().map(|(host, why)| (host.clone(), why.to_string())));
        }
        match (lost.is_empty(), full.is_empty()) {
            (false, _) => Err(PlanError::Unreachable(lost)),
            (true, false) => Err(PlanError::DiskFull(full)),
            (true, true) => Ok(()),
        }
    }

    fn uses_balancer(&self) -> bool {
        let moves = self.request.steps.iter().any(|step| matches!(step, Step::Switch {} | Step::Restart {}));
        moves && self.all_turns().any(|turn| turn.role.router.is_some())
    }

    fn stages(&self, step: &Step) -> Result<Vec<Stage>, PlanError> {
        Ok(match step {
            Step::Preflight {} => {
                let check = |host: HostName| vec![Action::Preflight { min_free_mib: self.min_free_mib(&host), host }];
                vec![side_by_side("preflight", self.hosts().into_iter().map(check), HOSTS_AT_ONCE)]
            }
            Step::Pull {} => {
                let lanes = self.pulling().into_iter().map(|host| vec![Action::Pull { host }]);
                vec![side_by_side("pull", lanes, self.request.spec.pulls_at_once)]
            }
            Step::Tasks {} => vec![one_lane("tasks", self.tasks().map(|(_, action)| action).collect())],
            Step::Task { name } => {
                let named = |action: &Action| matches!(action, Action::Task { task, .. } if task == name);
                vec![one_lane(name.as_str(), self.tasks().map(|(_, action)| action).filter(named).collect())]
            }
            Step::Switch {} => self.switching(),
            Step::Restart {} => self.restarting()?,
            Step::Run {} => vec![one_lane("run", vec![self.run()?])],
            Step::Record {} => vec![side_by_side("record", self.records(), HOSTS_AT_ONCE)],
            Step::Wait { span } => vec![one_lane("wait", vec![Action::Wait { span: *span }])],
            Step::Prune {} => vec![side_by_side("prune", self.prunes(), HOSTS_AT_ONCE)],
        })
    }

    /// The hosts that need the image: where a container is made from it, or a service or task will use it.
    fn pulling(&self) -> BTreeSet<HostName> {
        let makers = self.all_turns().filter(|turn| turn.needs_image()).map(|turn| turn.target.host.clone());
        makers.chain(self.tasks().map(|(target, _)| target.host)).collect()
    }

    fn finish(mut self, stages: Vec<Stage>) -> Result<Plan, PlanError> {
        let switches = self.request.steps.contains(&Step::Switch {});
        let changed = stages.iter().flat_map(|stage| stage.lanes.iter().flatten()).any(changes);
        if switches && !changed && !self.request.mends {
            let targets = self.all_turns().count();
            return Err(PlanError::NothingToDo { targets, tag: self.request.release.tag.to_string() });
        }
        let before = self.all_turns().map(|turn| Before { target: turn.target.clone(), release: turn.release.clone() }).collect();
        let mut warnings = std::mem::take(&mut self.request.warnings);
        if switches {
            warnings.extend(self.pushed_again());
        }
        warnings.extend(self.orphans());
        let spec = self.request.spec;
        // There is nothing to hold on to in a typed command.
        let lands = !matches!(self.request.purpose, Purpose::Run { .. });
        // After a restart there is nothing to go back from.
        let brings = matches!(self.request.purpose, Purpose::Deploy | Purpose::Revert);
        Ok(Plan {
            app: spec.app.clone(),
            environment: spec.environment.clone(),
            purpose: self.request.purpose,
            image: spec.image.clone(),
            release: self.request.release,
            before,
            warnings,
            stages,
            roles: spec.roles.clone(),
            hosts: spec.hosts.clone(),
            on_failure: if lands { spec.policy.on_failure } else { OnFailure::Undo },
            lock_after: if lands { spec.policy.lock_after.clone() } else { BTreeSet::new() },
            bake: if brings { spec.policy.bake } else { Millis::default() },
            nonce: self.request.nonce.to_owned(),
            revision: Revisions::of(spec, self.request.aim, self.request.steps),
        })
    }

    /// Services that run an earlier image of the same tag: TAG alone can't bring that one back.
    fn pushed_again(&self) -> Vec<String> {
        let release = &self.request.release;
        let before = self.all_turns().filter(|turn| turn.is_service()).filter_map(|turn| Some((turn, turn.release.as_ref()?)));
        let moved = before.filter(|(_, ran)| ran.tag == release.tag && ran.digest != release.digest);
        let said = moved.map(|(turn, ran)| {
            format!(
                "{} runs an earlier `{}` ({}), which an undo can't bring back: the tag is all that its TAG file says",
                turn.target,
                ran.tag,
                ran.digest.short()
            )
        });
        said.collect()
    }

    /// Running containers where the fleet file doesn't have their role any more.
    fn orphans(&self) -> Vec<String> {
        let hosts = self.request.observed.hosts.iter().filter_map(|(host, seen)| Some((host, seen.as_ref().ok()?)));
        let containers = hosts.flat_map(|(host, seen)| seen.containers.iter().map(move |container| (host, container)));
        let orphans = containers.filter(|(host, container)| {
            let wanted = self.request.spec.roles.get(&container.role).is_some_and(|role| role.hosts.contains(host));
            container.running && !wanted
        });
        let said = orphans.map(|(host, container)| {
            format!(
                "{host} still runs `{}` of the role `{}`, which the fleet file doesn't have there",
                container.name, container.role
            )
        });
        said.collect()
    }

    fn container_name(&self, part: &str) -> String {
        let Request { spec, release, nonce, .. } = &self.request;
        container_name(&spec.app, &spec.environment, part, &release.tag, nonce)
    }
}

/// Whether it changes what runs or is written, or only looks and tidies up.
fn changes(action: &Action) -> bool {
    match action {
        Action::Task { .. } | Action::Leave { .. } | Action::Stop { .. } | Action::Start { .. } | Action::Record { .. } => true,
        // One that ran before should be in already.
        Action::Join { undo, .. } => *undo,
        Action::Preflight { .. }
        | Action::Pull { .. }
        | Action::Drain { .. }
        | Action::Healthy { .. }
        | Action::Wait { .. }
        | Action::Prune { .. } => false,
    }
}

fn side_by_side(name: &str, lanes: impl IntoIterator<Item = Lane>, at_once: usize) -> Stage {
    Stage { name: name.to_owned(), lanes: lanes.into_iter().collect(), at_once: at_once.max(1) }
}

fn one_lane(name: &str, lane: Lane) -> Stage {
    Stage { name: name.to_owned(), lanes: [lane].into_iter().filter(|lane| !lane.is_empty()).collect(), at_once: 1 }
}
