//! The whole of it: rig, bot, history and room, through one round after the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use shipmate::domain::deployment::{DeploymentState, Phase};
use shipmate::domain::names::DeploymentId;

use crate::bot::{Bot, Home, Place, Room, Shown};
use crate::count::{Board, Counts, Wrong};
use crate::patience::{End, Outcome, Patience, Waited, broken};
use crate::record::{Record, Tail};
use crate::rig::{self, Rig};
use crate::round::{GOOD, Happening, Round, Trouble};
use crate::webhook::{Answer, Webhook};

/// How long everything may take to come to its end after the last thing that happened.
const SETTLE: Duration = Duration::from_secs(60);

/// How often a deploy may be tried that is to mend what a lost host left.
const MENDS: usize = 2;

/// All that takes part. The bot goes before the rig that it works on.
pub struct Chaos {
    seed: u64,
    patience: Patience,
    bot: Option<Bot>,
    home: Home,
    room: Room,
    tail: Tail,
    /// What is known of the history.
    pub record: Record,
    /// How many facts there were before each run.
    runs: Vec<u64>,
    /// What went wrong so far.
    pub counts: Counts,
    /// The webhooks that were answered 202.
    taken: Vec<String>,
    usual: Duration,
    rig: Rig,
}

impl Chaos {
    /// Brings the rig up, and lands two releases, so that there is one to go back to.
    pub fn begin(seed: u64, patience: &Patience) -> Outcome<Chaos> {
        let rig = Rig::up()?;
        let home = Home::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos"), &rig)?;
        let mut chaos = Chaos {
            seed,
            patience: patience.clone(),
            bot: None,
            room: Room::new(&home.at("transcript.txt"))?,
            tail: Tail::of(&home.store()),
            home,
            record: Record::default(),
            runs: Vec::new(),
            counts: Counts::default(),
            taken: Vec::new(),
            usual: Duration::ZERO,
            rig,
        };
        println!("transcript, log and store: {}", chaos.home.at("").display());
        chaos.start()?;
        for tag in &GOOD[..2] {
            let typed = Instant::now();
            let state = chaos.deploy(tag)?;
            chaos.usual = typed.elapsed();
            if state.phase != Phase::Succeeded {
                return Err(End::Broken(format!("{tag} can't even be deployed in peace: it is {}", state.phase.word())));
            }
        }
        println!("a deployment usually takes {:.1} s", chaos.usual.as_secs_f64());
        Ok(chaos)
    }

    /// Plays a round, and counts what goes wrong in it.
    pub fn round(&mut self, number: u64) -> Outcome<()> {
        let round = Round::draw(self.seed, number, self.usual, &self.runs_now());
        println!("round {number}: {round}");
        let (begin, before) = (Instant::now(), self.record.deployments.len());
        let trouble = self.trouble(&round.trouble, begin);
        let ci = self.announce(&round, begin);
        for (at, happening) in &round.happenings {
            self.patience.sleep_until(begin + *at)?;
            match happening {
                Happening::Said(line) => self.bot()?.say(line),
                Happening::Killed => self.kill_and_start(number, &ci)?,
            }
        }
        joined(trouble)?;
        self.send_again(ci)?;
        self.settle(number, before)?;
        if let Trouble::Dead { host, back: None, .. } = round.trouble {
            rig::does(&["start", host])?;
        }
        self.mend_what_is_lost(&round)?;
        self.compare_hosts(number)?;
        self.prove_history(number)?;
        let news = self.record.deployments.iter().skip(before).map(|(id, state)| format!("{id} {}", state.phase.word()));
        println!("  {:.1} s: {}", begin.elapsed().as_secs_f64(), news.collect::<Vec<_>>().join(", "));
        self.counts.played(&round);
        Ok(())
    }

    /// The people leave; the history goes out, into an empty store, and out again.
    pub fn finish(&mut self) -> Outcome<()> {
        if let Some(bot) = self.bot.take() {
            bot.leave(&self.patience)?;
        }
        let first = self.export(&self.home.store(), "first.jsonl")?;
        self.read_export(&first)?;
        let copy = self.home.at("imported");
        let import = self.home.shipmate(&copy).arg("import").arg(self.home.at("first.jsonl")).status().map_err(broken("import"))?;
        if !import.success() {
            return Err(End::Broken(format!("the history doesn't go in again: {import}")));
        }
        let second = self.export(&copy, "second.jsonl")?;
        if first == second { Ok(()) } else { Err(End::Broken("the history is another one after an import".to_owned())) }
    }

    /// The tag that the hosts run, if the record is right.
    fn runs_now(&self) -> String {
        self.record.landed().map_or_else(String::new, |state| state.plan.release.tag.to_string())
    }

    fn bot(&mut self) -> Outcome<&mut Bot> {
        self.bot.as_mut().ok_or_else(|| End::Broken("there is no bot".to_owned()))
    }

    fn start(&mut self) -> Outcome<()> {
        let run = self.runs.len();
        self.runs.push(self.record.facts());
        self.bot = Some(Bot::start(&self.home, &self.room, run, &self.patience)?);
        self.tail = Tail::of(&self.home.store());
        Ok(())
    }

    /// The fault happens beside everything else.
    fn trouble(&self, trouble: &Trouble, begin: Instant) -> JoinHandle<Outcome<()>> {
        let (patience, trouble) = (self.patience.clone(), trouble.clone());
        let then = move |at: Duration, words: &[&str]| {
            patience.sleep_until(begin + at)?;
            rig::does(words)
        };
        thread::spawn(move || match trouble {
            Trouble::None => Ok(()),
            Trouble::Frozen { host, at, span } => {
                then(at, &["freeze", host])?;
                then(at + span, &["thaw", host])
            }
            Trouble::Cut { host, at } => then(at, &["cut", host]),
            Trouble::Dead { host, at, back } => {
                then(at, &["kill", host])?;
                back.map_or(Ok(()), |back| then(back, &["start", host]))
            }
        })
    }

    /// CI sends its webhook once, at its time.
    fn announce(&self, round: &Round, begin: Instant) -> Ci {
        let webhook = Webhook { listen: self.home.listen.clone(), tag: round.tag(), outcome: round.outcome, number: round.number };
        let (patience, at, sender) = (self.patience.clone(), begin + round.announced, webhook.clone());
        let taken = Arc::new(AtomicBool::new(false));
        let answered = taken.clone();
        let sent = thread::spawn(move || {
            patience.sleep_until(at)?;
            answered.store(sender.send()? == Answer::Taken, Ordering::SeqCst);
            Ok(())
        });
        Ci { webhook, taken, sent }
    }

    /// SIGKILL; what was acknowledged by now must be in a copy of the store; and the next start, on the store itself.
    fn kill_and_start(&mut self, round: u64, ci: &Ci) -> Outcome<()> {
        if let Some(bot) = self.bot.take() {
            bot.kill()?;
        }
        if ci.taken.load(Ordering::SeqCst) {
            self.taken.push(ci.webhook.tag.clone());
        }
        let copy = self.home.at("copy");
        copy_store(&self.home.store(), &copy).map_err(broken("the store can't be copied"))?;
        let history = self.export(&copy, "killed.jsonl")?;
        self.read_export(&history)?;
        self.compare_with_shown(round);
        self.start()
    }

    /// CI sends again, which must not make it two builds.
    fn send_again(&mut self, ci: Ci) -> Outcome<()> {
        joined(ci.sent)?;
        let mut last = Answer::None;
        self.patience.wait(SETTLE, || {
            last = ci.webhook.send()?;
            Ok(last == Answer::Taken)
        })?;
        if last != Answer::Taken {
            return Err(End::Broken(format!("the webhook isn't taken: {last:?}")));
        }
        self.taken.push(ci.webhook.tag);
        Ok(())
    }

    /// Waits until each deployment is over, each command is answered and the room has heard of all.
    fn settle(&mut self, round: u64, before: usize) -> Outcome<()> {
        let patience = self.patience.clone();
        let mut open = Vec::new();
        let waited = patience.wait(SETTLE, || {
            self.bot()?.check()?;
            self.tail.follow(&mut self.record)?;
            open = self.record.unfinished();
            if open.is_empty() {
                open = self.untold(before);
            }
            Ok(open.is_empty())
        })?;
        match waited {
            Waited::Seen => Ok(()),
            Waited::InVain => {
                for what in open {
                    self.counts.wrong(round, Wrong::Unfinished, format!("{what} after {} s", SETTLE.as_secs()));
                }
                Err(End::Broken("what isn't over can't be judged; see transcript and log".to_owned()))
            }
        }
    }

    /// What the room hasn't heard of the deployments from the given one on, and of the builds.
    fn untold(&self, before: usize) -> Vec<String> {
        let messages = self.room.messages();
        let board = self.board(&messages);
        let news = self.record.deployments.keys().skip(before).filter(|id| !board.closes(id.0));
        let news = news.map(|id| format!("the room hasn't heard the end of {id}"));
        let builds = self.taken.last().filter(|tag| !board.announces(tag));
        news.chain(builds.map(|tag| format!("the room hasn't heard of {tag}"))).collect()
    }

    fn board<'a>(&'a self, messages: &'a BTreeMap<Place, Shown>) -> Board<'a> {
        Board::new(&self.record, messages, &self.runs)
    }

    /// After the loss of a host a deploy must bring everything to order.
    fn mend_what_is_lost(&mut self, round: &Round) -> Outcome<()> {
        let lost = matches!(round.trouble, Trouble::Dead { .. });
        let stuck = self.record.stuck();
        if lost {
            self.counts.stuck += stuck.len();
        } else {
            for id in &stuck {
                self.counts.wrong(round.number, Wrong::Unfinished, format!("{id} is stuck, and no host was taken away"));
            }
        }
        if lost || !stuck.is_empty() { self.mend(round.number) } else { Ok(()) }
    }

    fn mend(&mut self, round: u64) -> Outcome<()> {
        let runs = self.runs_now();
        for tag in GOOD.iter().filter(|tag| **tag != runs).take(MENDS) {
            let state = self.deploy(tag)?;
            if state.phase == Phase::Succeeded && self.record.stuck().is_empty() {
                return Ok(());
            }
            let what = format!("the deploy of {tag} in round {round} was to mend and is {}", state.phase.word());
            self.counts.wrong(round, Wrong::Unfinished, what);
        }
        Err(End::Broken("the fleet can't be mended by a deploy".to_owned()))
    }

    /// A person deploys in peace, and waits for the end.
    fn deploy(&mut self, tag: &str) -> Outcome<DeploymentState> {
        let before = self.record.deployments.len();
        self.bot()?.say(&format!("!deploy antisocial {tag}"));
        let patience = self.patience.clone();
        let waited = patience.wait(SETTLE, || {
            self.bot()?.check()?;
            self.tail.follow(&mut self.record)?;
            Ok(self.record.deployments.len() > before && self.record.unfinished().is_empty() && self.untold(before).is_empty())
        })?;
        match (waited, self.record.deployments.values().nth(before)) {
            (Waited::Seen, Some(state)) => Ok(state.clone()),
            (Waited::Seen | Waited::InVain, _) => {
                Err(End::Broken(format!("`!deploy antisocial {tag}` comes to no end in {} s", SETTLE.as_secs())))
            }
        }
    }

    /// Hosts and site have what the last landed deployment brought; if not, a deploy mends it, so that the next round counts for
    /// itself.
    fn compare_hosts(&mut self, round: u64) -> Outcome<()> {
        let differences = self.rig.differences(&self.runs_now())?;
        for difference in &differences {
            self.counts.wrong(round, Wrong::Astray, format!("after round {round} {difference}"));
        }
        if differences.is_empty() { Ok(()) } else { self.mend(round) }
    }

    /// The export of the running bot's store holds all that was ever read of it, and all that was acknowledged; the room shows
    /// nothing twice.
    fn prove_history(&mut self, round: u64) -> Outcome<()> {
        let history = self.export(&self.home.store(), "running.jsonl")?;
        self.read_export(&history)?;
        self.compare_with_shown(round);
        let messages = self.room.messages();
        let (unseen, (doubled, again)) = {
            let board = self.board(&messages);
            (board.unseen(), board.doubled())
        };
        self.counts.shown_again = again;
        unseen.into_iter().for_each(|what| self.counts.wrong(round, Wrong::Lost, what));
        doubled.into_iter().for_each(|what| self.counts.wrong(round, Wrong::Doubled, what));
        self.record.done_twice().into_iter().for_each(|what| self.counts.wrong(round, Wrong::Twice, what));
        let twice = self.record.built.iter().filter(|(_, count)| **count > 1);
        let twice: Vec<String> = twice.map(|(tag, count)| format!("{tag} was announced by {count} facts")).collect();
        twice.into_iter().for_each(|what| self.counts.wrong(round, Wrong::Doubled, what));
        Ok(())
    }

    /// What was acknowledged is in the history: builds that were taken, deployments and their ends that the room had shown.
    fn compare_with_shown(&mut self, round: u64) {
        let mut lost: Vec<String> = Vec::new();
        let builds = self.taken.iter().filter(|tag| !self.record.built.contains_key(*tag));
        lost.extend(builds.map(|tag| format!("the webhook of {tag} was answered 202")));
        for (place, shown) in self.room.messages() {
            let Some(id) = shown.last.deployment() else { continue };
            match self.record.deployments.get(&DeploymentId(id)) {
                None => lost.push(format!("#{id} was shown as {place:?}: {}", shown.last.text)),
                Some(state) if matches!(shown.last.sign, '✔' | '✘') && !state.phase.is_final() => {
                    lost.push(format!("#{id} is {} and was shown as over: {}", state.phase.word(), shown.last.text));
                }
                Some(_) => {}
            }
        }
        lost.into_iter().for_each(|what| self.counts.wrong(round, Wrong::Lost, what));
    }

    /// What `shipmate export` writes of a store.
    fn export(&self, store: &Path, name: &str) -> Outcome<Vec<u8>> {
        let file = self.home.at(name);
        let output = self.home.shipmate(store).arg("export").arg(&file).output().map_err(broken("export"))?;
        if !output.status.success() {
            return Err(End::Broken(format!("the export failed: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        std::fs::read(&file).map_err(broken("the export"))
    }

    fn read_export(&mut self, history: &[u8]) -> Outcome<()> {
        let mut lines: Vec<&[u8]> = history.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        match lines.pop() {
            Some(last) if last.starts_with(b"{\"end\"") => self.record.read(lines.into_iter().skip(1)),
            Some(_) | None => Err(End::Broken("the export has no end".to_owned())),
        }
    }
}

/// A webhook on its way.
struct Ci {
    webhook: Webhook,
    /// It was answered 202.
    taken: Arc<AtomicBool>,
    sent: JoinHandle<Outcome<()>>,
}

fn joined(thread: JoinHandle<Outcome<()>>) -> Outcome<()> {
    thread.join().map_err(|_| End::Broken("a thread panicked".to_owned()))?
}

/// Copies a store as a kill left it, without the output of deployments and without what isn't a file.
fn copy_store(from: &Path, to: &PathBuf) -> std::io::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && entry.file_name() != "outputs" {
            copy_store(&entry.path(), &to)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
