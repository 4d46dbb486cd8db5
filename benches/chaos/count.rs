//! What is counted: everything that went wrong, with its round, and how much there was that could have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use shipmate::chat::console::ROOM;

use crate::bot::{Place, Shown};
use crate::record::{Record, RoomPost};
use crate::round::{Round, Trouble};

/// The ways to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Something was acknowledged and isn't in the history: a webhook that was answered 202, a deployment or an end that the
    /// room had shown, a message that the history says was shown.
    Lost,
    /// A deployment didn't come to its end after the restart, or got stuck although no host was taken away.
    Unfinished,
    /// An announcement or a closing message came twice, beyond what a chat with idempotent keys would hide.
    Doubled,
    /// One command became two deployments.
    Twice,
    /// A host or the site had something else than the record says.
    Astray,
}

impl Wrong {
    /// All of them, in the order of the report.
    const ALL: [Wrong; 5] = [Wrong::Lost, Wrong::Unfinished, Wrong::Doubled, Wrong::Twice, Wrong::Astray];

    /// As the report calls it.
    fn name(self) -> &'static str {
        match self {
            Wrong::Lost => "lost acknowledgements",
            Wrong::Unfinished => "deployments that did not reach a final state",
            Wrong::Doubled => "doubled announcements",
            Wrong::Twice => "commands carried out twice",
            Wrong::Astray => "hosts that had something else than the record",
        }
    }
}

/// The counts so far.
#[derive(Default)]
pub struct Counts {
    rounds: u64,
    kills: usize,
    frozen: usize,
    cut: usize,
    dead: usize,
    /// Deployments that got stuck since a host was taken away, and were mended.
    pub stuck: usize,
    /// Messages that only a terminal shows again, since it forgets its keys.
    pub shown_again: usize,
    wrongs: BTreeMap<(Wrong, String), u64>,
}

impl Counts {
    /// A round is over.
    pub fn played(&mut self, round: &Round) {
        self.rounds += 1;
        self.kills += round.kills();
        match round.trouble {
            Trouble::None => {}
            Trouble::Frozen { .. } => self.frozen += 1,
            Trouble::Cut { .. } => self.cut += 1,
            Trouble::Dead { .. } => self.dead += 1,
        }
    }

    /// Something went wrong, in this round; the same again doesn't count again.
    pub fn wrong(&mut self, round: u64, wrong: Wrong, what: String) {
        if !self.wrongs.contains_key(&(wrong, what.clone())) {
            println!("  WRONG, {}: {what}", wrong.name());
            self.wrongs.insert((wrong, what), round);
        }
    }

    /// Whether nothing went wrong.
    pub fn are_clean(&self) -> bool {
        self.wrongs.is_empty()
    }

    /// The rounds in which something went wrong.
    pub fn bad_rounds(&self) -> BTreeSet<u64> {
        self.wrongs.values().copied().collect()
    }

    fn of(&self, wrong: Wrong) -> usize {
        self.wrongs.keys().filter(|(kind, _)| *kind == wrong).count()
    }

    /// The line for the README's table.
    pub fn row(&self, seed: u64, deployments: usize, took: Duration) -> String {
        let wrongs: Vec<String> = Wrong::ALL.iter().map(|wrong| format!("{} {}", self.of(*wrong), wrong.name())).collect();
        format!(
            "| {} rounds of `kill -9` at a random moment of a real deployment ({} kills, {deployments} deployments, {} hosts frozen, \
             {} cut off, {} without power; {:.0} min, seed {seed}) | {} |",
            self.rounds,
            self.kills,
            self.frozen,
            self.cut,
            self.dead,
            took.as_secs_f64() / 60.0,
            wrongs.join(", ")
        )
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rounds: {}", self.rounds)?;
        writeln!(f, "kills: {}", self.kills)?;
        writeln!(f, "hosts frozen: {}", self.frozen)?;
        writeln!(f, "hosts cut off: {}", self.cut)?;
        writeln!(f, "hosts without power: {}", self.dead)?;
        for wrong in Wrong::ALL {
            writeln!(f, "{}: {}", wrong.name(), self.of(wrong))?;
        }
        writeln!(f, "stuck since a host was gone, and mended by a deploy: {}", self.stuck)?;
        write!(f, "shown again by the terminal only, which forgets its keys: {}", self.shown_again)
    }
}

/// What the rooms show of deployments and announced builds. What they really showed is known of the terminal.
pub struct Board<'a> {
    messages: &'a BTreeMap<Place, Shown>,
    /// The messages that show each post.
    posts: BTreeMap<&'a RoomPost, Vec<Place>>,
    settled: &'a BTreeSet<RoomPost>,
}

impl<'a> Board<'a> {
    /// Puts together what the history says was shown and what was. `runs` has the number of facts before each run.
    pub fn new(record: &'a Record, messages: &'a BTreeMap<Place, Shown>, runs: &[u64]) -> Board<'a> {
        let mut posts: BTreeMap<&RoomPost, Vec<Place>> = BTreeMap::new();
        for posted in &record.posted {
            let run = runs.partition_point(|before| *before < posted.seq).saturating_sub(1);
            posts.entry(&posted.post).or_default().push((run, posted.message));
        }
        Board { messages, posts, settled: &record.settled }
    }

    /// The posts that the terminal shows, with their messages.
    fn posts_here(&self) -> impl Iterator<Item = (u64, &[Place])> {
        let here = self.posts.iter().filter(|((room, _), _)| room == ROOM);
        here.map(|((_, post), places)| (*post, places.as_slice()))
    }

    /// The title that a message had when it was first shown.
    fn title(&self, place: &Place) -> Option<&str> {
        self.messages.get(place).map(|shown| shown.first.text.as_str())
    }

    /// How many posts begin with this word.
    fn about(&self, word: &str) -> usize {
        let is = |place: &Place| self.title(place).and_then(|title| title.split(' ').next()) == Some(word);
        self.posts_here().filter(|(_, places)| places.first().is_some_and(is)).count()
    }

    /// Whether the room has heard all of a deployment: a post that lives with it, and one that closes it.
    pub fn closes(&self, deployment: u64) -> bool {
        self.about(&format!("#{deployment}")) > 1
    }

    /// Whether a build was announced.
    pub fn announces(&self, tag: &str) -> bool {
        self.about(tag) > 0
    }

    /// The posts that the history says were shown, and that nobody saw.
    pub fn unseen(&self) -> Vec<String> {
        let unseen = self.posts_here().filter(|(_, places)| places.iter().any(|place| self.title(place).is_none()));
        unseen.map(|(post, places)| format!("post {post} was never shown as {places:?}")).collect()
    }

    /// What came twice, and how often a terminal showed again what a chat with keys wouldn't.
    ///
    /// A post has one key for all its tries, so a chat shows it once. It is doubled when the history notes it twice (but for one that
    /// lives: on a terminal it is shown again in each run), when it is shown in a run after the one that noted it, or when two posts
    /// say the same.
    pub fn doubled(&self) -> (Vec<String>, usize) {
        let (mut doubled, mut again) = (Vec::new(), 0);
        for ((room, post), places) in &self.posts {
            let runs: BTreeSet<usize> = places.iter().map(|(run, _)| *run).collect();
            let lives = self.settled.contains(&(room.clone(), *post));
            if runs.len() < places.len() || (!lives && places.len() > 1) {
                doubled.push(format!("post {post} of {room} was noted as {places:?}"));
            }
        }
        let mut shown: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
        for (place, message) in self.messages {
            shown.entry(&message.first.text).or_default().push(*place);
        }
        let mut said: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (post, places) in self.posts_here() {
            let Some(noted) = places.first() else { continue };
            let counts = |title: &&str| title.starts_with('#') || title.starts_with("chaos-");
            let Some(title) = self.title(noted).filter(counts) else { continue };
            said.entry(title).or_default().push(post);
            if !self.settled.contains(&(ROOM.to_owned(), post)) {
                let others = shown.get(title).into_iter().flatten().filter(|place| !places.contains(place));
                let (later, before): (Vec<&Place>, Vec<&Place>) = others.partition(|(run, _)| *run >= noted.0);
                again += before.len();
                doubled.extend(later.iter().map(|place| format!("\"{title}\" was noted as {noted:?} and shown as {place:?} too")));
            }
        }
        let same = said.iter().filter(|(_, posts)| posts.len() > 1);
        doubled.extend(same.map(|(title, posts)| format!("\"{title}\" was posted as {posts:?}")));
        (doubled, again)
    }
}
