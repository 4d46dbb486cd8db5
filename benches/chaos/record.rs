//! What the journal says, read while the bot writes it and proved by `shipmate export`.
//!
//! Each line that was ever read is remembered by its hash. A later export must hold the same lines in the same places: a fact that
//! was durable once, and then isn't there or is another one, is found whatever it was about.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use shipmate::domain::deployment::{DeploymentState, Event, Phase, next};
use shipmate::domain::message::MessageRef;
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::Purpose;
use shipmate::store::{Entry, Fact, Head};

use crate::patience::{End, Outcome, broken};

/// A post in a room.
pub type RoomPost = (String, u64);

/// That a room shows a post.
pub struct Posted {
    /// Which fact says so.
    pub seq: u64,
    /// Which post, and where.
    pub post: RoomPost,
    /// The number of the message in its run.
    pub message: u64,
}

/// What the facts so far come to.
#[derive(Default)]
pub struct Record {
    heads: Vec<Head>,
    /// All deployments, each with where it is.
    pub deployments: BTreeMap<DeploymentId, DeploymentState>,
    /// The commands that wait for an answer.
    pub waiting: BTreeSet<String>,
    /// How many facts announced a build of this tag.
    pub built: BTreeMap<String, usize>,
    /// What the rooms show.
    pub posted: Vec<Posted>,
    /// The posts that were edited until they got their last state.
    pub settled: BTreeSet<RoomPost>,
    /// The deployments that each message asked for.
    asked: BTreeMap<String, Vec<DeploymentId>>,
}

impl Record {
    /// How many facts there are.
    pub fn facts(&self) -> u64 {
        self.heads.len() as u64
    }

    /// Compares history with what is known of it, and takes in what is new. The first line, which only says what the
    /// file is, was left out.
    pub fn read<'a>(&mut self, lines: impl IntoIterator<Item = &'a [u8]>) -> Outcome<()> {
        let mut head = Head::GENESIS;
        for line in lines {
            let entry = Entry::read(line, head).map_err(broken("the history is damaged"))?;
            head = entry.head();
            self.take(&entry)?;
        }
        match self.heads.last() {
            Some(known) if known.seq > head.seq => {
                Err(End::Broken(format!("facts were lost: there were {}, and there are {}", known.seq, head.seq)))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn take(&mut self, entry: &Entry) -> Outcome<()> {
        match usize::try_from(entry.seq - 1).ok().and_then(|place| self.heads.get(place)) {
            Some(known) if *known == entry.head() => return Ok(()),
            Some(_) => return Err(End::Broken(format!("fact {} was durable and is another one now: {}", entry.seq, entry.fact))),
            None => self.heads.push(entry.head()),
        }
        let (at, fact) = entry.open().map_err(broken("the history can't be read"))?;
        match fact {
            Fact::Built { build, completes: None, .. } => *self.built.entry(build.tag.to_string()).or_default() += 1,
            Fact::Heard { message } => self.waiting.extend([key(&message.at)]),
            Fact::Answered { message } => self.waiting.retain(|waiting| *waiting != key(&message)),
            Fact::Deployment { id, event } => self.happened(id, at, &event)?,
            Fact::Posted { room, post, message, .. } => {
                let number = message.id.rsplit_once("-m").and_then(|(_, number)| number.parse().ok());
                self.posted.extend(number.map(|message| Posted { seq: entry.seq, post: (room.0, post.0), message }));
            }
            Fact::Settled { room, post } => self.settled.extend([(room.0, post.0)]),
            // Whatever else there is can't be lost either: the hashes are compared.
            _ => {}
        }
        Ok(())
    }

    fn happened(&mut self, id: DeploymentId, at: Timestamp, event: &Event) -> Outcome<()> {
        if let Event::Requested { cause: Some(cause), .. } = event {
            self.waiting.remove(&key(cause));
            self.asked.entry(key(cause)).or_default().push(id);
        }
        let state = next(self.deployments.remove(&id), at, event).map_err(broken(format!("{id}")))?;
        self.deployments.insert(id, state);
        Ok(())
    }

    /// What isn't over: deployments with their phases, and commands without an answer.
    pub fn unfinished(&self) -> Vec<String> {
        let open = self.deployments.iter().filter(|(_, state)| !state.phase.is_final());
        let open = open.map(|(id, state)| format!("{id} is {}", state.phase.word()));
        open.chain(self.waiting.iter().map(|message| format!("the command {message} has no answer"))).collect()
    }

    /// The commands that became more than one deployment.
    pub fn done_twice(&self) -> Vec<String> {
        let twice = self.asked.iter().filter(|(_, deployments)| deployments.len() > 1);
        twice.map(|(message, deployments)| format!("the command {message} became {deployments:?}")).collect()
    }

    /// The stuck deployments that none has mended yet.
    pub fn stuck(&self) -> Vec<DeploymentId> {
        let stuck =
            self.deployments.iter().filter(|(_, state)| matches!(state.phase, Phase::Stuck(_)) && state.mended_by.is_none());
        stuck.map(|(id, _)| *id).collect()
    }

    /// The deployment that ended last of those that ended well and changed what runs.
    pub fn landed(&self) -> Option<&DeploymentState> {
        let lands = |state: &&DeploymentState| matches!(state.plan.purpose, Purpose::Deploy | Purpose::Revert);
        let well = self.deployments.values().filter(|state| state.phase == Phase::Succeeded).filter(lands);
        well.max_by_key(|state| state.ended_at)
    }
}

fn key(message: &MessageRef) -> String {
    format!("{}:{}", message.room, message.id)
}

/// The journal, read as it grows.
pub struct Tail {
    path: PathBuf,
    offset: u64,
    head: Head,
}

impl Tail {
    /// Of the store in this folder, from the first line on: what is known already is only compared.
    pub fn of(store: &Path) -> Tail {
        Tail { path: store.join("journal.jsonl"), offset: 0, head: Head::GENESIS }
    }

    /// Reads the lines that are whole by now.
    pub fn follow(&mut self, record: &mut Record) -> Outcome<()> {
        let mut journal = BufReader::new(File::open(&self.path).map_err(broken("the journal"))?);
        journal.seek(SeekFrom::Start(self.offset)).map_err(broken("the journal"))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = journal.read_until(b'\n', &mut line).map_err(broken("the journal"))?;
            let Some(whole) = line.strip_suffix(b"\n") else { return Ok(()) };
            if self.offset > 0 {
                let entry = Entry::read(whole, self.head).map_err(broken("the journal is damaged"))?;
                self.head = entry.head();
                record.take(&entry)?;
            }
            self.offset += length as u64;
        }
    }
}
