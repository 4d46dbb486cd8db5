//! What happens in a round. The seed and the round's number decide it. Only what is known of the world is taken into account: how
//! long a deployment usually takes, and what runs, which nobody would deploy again.

use std::fmt;
use std::time::Duration;

/// Builds that come to their end.
pub const GOOD: [&str; 7] = ["build-41", "build-42", "build-43", "build-50", "build-51", "build-52", "build-53"];

/// Builds that are put back: the migration fails or is killed, `run` exits, `/health` never answers.
const BAD: [&str; 4] = ["build-44", "build-45", "build-46", "build-54"];

/// The hosts as `rig` calls them.
const HOSTS: [&str; 4] = ["1", "2", "3", "balancer"];

/// What happens to a host.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// It falls silent for a while.
    Frozen {
        /// Which.
        host: &'static str,
        /// Since when.
        at: Duration,
        /// How long.
        span: Duration,
    },
    /// Its open connections break.
    Cut {
        /// Which.
        host: &'static str,
        /// When.
        at: Duration,
    },
    /// It loses its power.
    Dead {
        /// Which.
        host: &'static str,
        /// When.
        at: Duration,
        /// When it is back; `None` = only when everything else has come to its end.
        back: Option<Duration>,
    },
}

/// What the people do, and the kill, in the order of their times since the round's begin.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A person types this.
    Said(String),
    /// SIGKILL, and the next start.
    Killed,
}

/// A round.
#[derive(Debug, Clone)]
pub struct Round {
    /// Its number, counted from 1.
    pub number: u64,
    /// The outcome of the build that CI announces in it.
    pub outcome: &'static str,
    /// When CI announces it.
    pub announced: Duration,
    /// What the people do, and the kills.
    pub happenings: Vec<(Duration, Happening)>,
    /// What happens to a host.
    pub trouble: Trouble,
}

impl Round {
    /// Throws the dice.
    pub fn draw(seed: u64, number: u64, usual: Duration, runs: &str) -> Round {
        let mut dice = Dice::new(seed, number);
        let good: Vec<&str> = GOOD.into_iter().filter(|tag| *tag != runs).collect();
        let command = match dice.below(100) {
            0..64 => format!("!deploy antisocial {}", dice.pick(&good)),
            64..76 => format!("!deploy antisocial {}", dice.pick(&BAD)),
            76..88 => "!revert antisocial".to_owned(),
            _ => "!restart antisocial".to_owned(),
        };
        let mut happenings = vec![(Duration::ZERO, Happening::Said(command))];
        if dice.chance(12) {
            happenings.push((usual.mul_f64(dice.part() * 1.2), Happening::Said("!cancel".to_owned())));
        }
        if dice.chance(8) {
            let second = format!("!deploy antisocial {}", dice.pick(&good));
            happenings.push((usual.mul_f64(dice.part()), Happening::Said(second)));
        }
        // Each fifth kill comes while the command is still being taken, which is over in no time.
        let kill = usual.mul_f64(dice.part() * if dice.chance(20) { 0.1 } else { 1.15 });
        happenings.push((kill, Happening::Killed));
        if dice.chance(25) {
            // Before the next start has found out what the last one left.
            happenings.push((kill + Duration::from_millis(20) + usual.mul_f64(dice.part() * 0.5), Happening::Killed));
        }
        // Each second webhook comes when it may be taken, but not answered any more.
        let announced = if dice.chance(50) {
            kill.saturating_sub(Duration::from_secs_f64(dice.part() * 0.02))
        } else {
            usual.mul_f64(dice.part())
        };
        happenings.sort_by_key(|(at, _)| *at);
        let outcome = dice.pick(&["success", "success", "unstable", "failure", "cancelled"]);
        Round { number, outcome, announced, happenings, trouble: Trouble::draw(&mut dice, usual) }
    }

    /// The tag that CI announces in it. Nobody deploys it: what is deployed are the rig's own builds.
    pub fn tag(&self) -> String {
        format!("chaos-{}", self.number)
    }

    /// How often the bot is killed in it.
    pub fn kills(&self) -> usize {
        self.happenings.iter().filter(|(_, happening)| *happening == Happening::Killed).count()
    }
}

impl Trouble {
    fn draw(dice: &mut Dice, usual: Duration) -> Trouble {
        let at = usual.mul_f64(dice.part());
        let span = Duration::from_secs_f64(0.5 + dice.part() * 2.5);
        match dice.below(100) {
            0..56 => Trouble::None,
            56..72 => Trouble::Frozen { host: dice.pick(&HOSTS), at, span },
            72..88 => Trouble::Cut { host: dice.pick(&HOSTS), at },
            _ => Trouble::Dead { host: dice.pick(&HOSTS[..3]), at, back: dice.chance(50).then_some(at + span) },
        }
    }
}

/// The length of a span of time, for people.
fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happenings = self.happenings.iter().map(|(at, happening)| match happening {
            Happening::Said(line) if at.is_zero() => line.clone(),
            Happening::Said(line) => format!("{line} at {}", seconds(*at)),
            Happening::Killed => format!("kill at {}", seconds(*at)),
        });
        let trouble = match &self.trouble {
            Trouble::None => None,
            Trouble::Frozen { host, at, span } => Some(format!("{host} frozen at {} for {}", seconds(*at), seconds(*span))),
            Trouble::Cut { host, at } => Some(format!("{host} cut off at {}", seconds(*at))),
            Trouble::Dead { host, at, back: Some(back) } => {
                Some(format!("{host} dead at {}, back at {}", seconds(*at), seconds(*back)))
            }
            Trouble::Dead { host, at, back: None } => Some(format!("{host} dead for good at {}", seconds(*at))),
        };
        f.write_str(&happenings.chain(trouble).collect::<Vec<_>>().join(", "))
    }
}

/// Random numbers that are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, round: u64) -> Dice {
        let mut dice = Dice(seed);
        dice.0 = dice.next() ^ round;
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.below(1 << 20) as f64 / (1u64 << 20) as f64
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.next() % all.len() as u64) as usize]
    }
}
