//! Who may, who may not, and why.

use jiff::Timestamp;

use super::{clock, code, line, lines, table, text};
use crate::bot::access::{Denied, Subject};
use crate::chat::{Reply, Tone};
use crate::domain::freeze::Freeze;
use crate::domain::names::{CommandName, PersonName};
use crate::domain::permission::{Basis, Decision, Through, through};
use crate::domain::policy::{Access, ApprovalPolicy, Guests, Standing, Who};
use crate::nearest::listed;

/// A command that somebody may not use.
pub fn denied(denied: &Denied) -> Reply {
    let title = match denied {
        Denied::Stranger { account, decision, .. } => {
            let why = match &decision.basis {
                Basis::Guests(_) => format!(", and {}", reason(decision)),
                Basis::Owner | Basis::Rule { .. } | Basis::CommandGroup(_) | Basis::NoGroupNeeded | Basis::ActsNeedAPerson => {
                    String::new()
                }
            };
            format!(
                "I don't know {}{why}; add the account to a person in the fleet file ([people.NAME] accounts = [...])",
                code(account)
            )
        }
        Denied::Person { person, subject, decision, unsure } => {
            let advice = match &decision.basis {
                Basis::Rule { .. } => format!("; add {person} there if that is wrong"),
                Basis::CommandGroup(_) => format!(" ([people.{person}] groups = [...] in the fleet file)"),
                Basis::Owner | Basis::NoGroupNeeded | Basis::ActsNeedAPerson | Basis::Guests(_) => String::new(),
            };
            let place = place(subject);
            let unsure = if *unsure { "; but a chat doesn't tell their roles at the moment: try again" } else { "" };
            format!("{person} may not {}{place}: {}{advice}{unsure}", code(&subject.command), reason(decision))
        }
    };
    line(Tone::Warning, title)
}

/// Why a decision is what it is: `rule at line 34 of the fleet file, by the group deployers`.
pub fn reason(decision: &Decision) -> String {
    let through = match &decision.through {
        Some(Through::Name) => ", by name".to_owned(),
        Some(Through::Group(group)) => format!(", by the group {group}"),
        None => String::new(),
    };
    match (&decision.basis, decision.allowed) {
        (Basis::Owner, _) => "the bot is theirs who are at its terminal, as long as the fleet file has no people".to_owned(),
        (Basis::Rule { line, .. }, true) => format!("rule at line {line} of the fleet file{through}"),
        (Basis::Rule { line, allow }, false) => format!("the rule at line {line} of the fleet file is for {}", whom(allow)),
        (Basis::CommandGroup(_), true) => format!("the command's own file{through}"),
        (Basis::CommandGroup(group), false) => format!("it needs the group {}", code(group)),
        (Basis::NoGroupNeeded, _) => "the command is for everybody in the fleet file".to_owned(),
        (Basis::ActsNeedAPerson, _) => "only people in the fleet file may change anything".to_owned(),
        (Basis::Guests(Guests::Read), _) => "guests may read".to_owned(),
        (Basis::Guests(Guests::Only(commands)), _) => {
            format!("guests may use {} only ([access] guests)", listed(commands.iter().map(CommandName::as_str)))
        }
        (Basis::Guests(Guests::Nothing), _) => "guests may do nothing here ([access] guests)".to_owned(),
    }
}

/// What a decision says of whoever asked: `may, rule at line 34 of the fleet file`.
pub fn permitted(decision: &Decision) -> String {
    format!("{}: {}", if decision.allowed { "may" } else { "may not (any more)" }, reason(decision))
}

/// Groups and people as one reads them: `the group seniors, anna and ben`.
pub fn whom(who: &Who) -> String {
    let groups = who.groups.iter().map(|group| format!("the group {group}"));
    let names: Vec<String> = groups.chain(who.people.iter().map(PersonName::to_string)).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nobody".to_owned(),
    }
}

/// A freeze that holds: `frozen until Mon 2026-11-30 08:00 Europe/Berlin: no deploys at the weekend`.
pub fn frozen(freeze: &Freeze, until: Timestamp) -> String {
    format!("frozen until {}: {}", clock(until, &freeze.zone), text(&freeze.reason))
}

/// What is known about whether a person may use a command.
pub struct Can<'a> {
    /// The person.
    pub person: &'a PersonName,
    /// The command, and what it would be about.
    pub subject: &'a Subject,
    /// Whether they may, and why.
    pub decision: &'a Decision,
    /// The votes that it takes, and the person as they are seen when votes are counted; `None` = it takes none.
    pub votes: Option<(&'a ApprovalPolicy, &'a Standing)>,
    /// The freeze that is in its way at this moment, with its end.
    pub freeze: Option<(&'a Freeze, Timestamp)>,
    /// All rules.
    pub access: &'a Access,
}

/// Whether a person may use a command, why, and what stands in the way even so.
pub fn can(can: &Can<'_>) -> Reply {
    let Can { person, subject, decision, .. } = can;
    let (tone, may) = if decision.allowed { (Tone::Good, "may") } else { (Tone::Warning, "may not") };
    let title = format!("{person} {may} {}{}: {}", subject.command, place(subject), reason(decision));
    let votes = can.votes.into_iter().flat_map(|(votes, standing)| votes_in_words(person, votes, standing));
    let freeze = can.freeze.map(|(freeze, until)| frozen(freeze, until));
    // The bot sees the roles of an account only when it speaks.
    let roles = (!can.access.platform_roles.is_empty())
        .then(|| format!("groups that {person} has only by the roles of a chat are not counted here"));
    Reply { body: lines(votes.chain(freeze).chain(roles)).collect(), ..line(tone, title) }
}

fn votes_in_words(person: &PersonName, votes: &ApprovalPolicy, standing: &Standing) -> Vec<String> {
    let counts = match (through(standing, &votes.approvers), votes.requester_counts) {
        (None, _) => format!("a vote of {person} doesn't count"),
        (Some(_), true) => format!("a vote of {person} counts, also for what {person} asks for"),
        (Some(_), false) => format!("a vote of {person} counts, but not for what {person} asks for"),
    };
    let without = through(standing, &votes.emergency).map(|_| format!("in an emergency {person} may do without"));
    [Some(takes(Some(votes))), Some(counts), without].into_iter().flatten().collect()
}

/// The votes that something takes: `it takes 2 votes of the group seniors and anna`.
pub fn takes(votes: Option<&ApprovalPolicy>) -> String {
    match votes {
        Some(votes) => format!("it takes {} of {}", count(votes.votes), whom(&votes.approvers)),
        None => "it takes no votes".to_owned(),
    }
}

fn count(votes: u32) -> String {
    if votes == 1 { "1 vote".to_owned() } else { format!("{votes} votes") }
}

/// What stands behind a command: ` antisocial production`, or nothing.
fn place(subject: &Subject) -> String {
    let app = subject.app.iter().map(|app| format!(" {app}"));
    app.chain(subject.environment.iter().map(|environment| format!(" {environment}"))).collect()
}

/// An answer, as it was expected or as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether somebody may, at the time that was asked about.
    pub allowed: bool,
    /// How many votes it takes; `None` = nobody asked.
    pub approvals: Option<u32>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.allowed { "may" } else { "may not" })?;
        self.approvals.map_or(Ok(()), |votes| write!(f, ", {}", count(votes)))
    }
}

/// An expected answer that isn't the policy's.
pub struct Difference {
    /// The line at which it begins.
    pub line: usize,
    /// Who was asked about.
    pub who: String,
    /// What was asked about.
    pub subject: Subject,
    /// The answer that was expected.
    pub expected: Verdict,
    /// The answer that it is.
    pub found: Verdict,
    /// Why.
    pub why: String,
}

/// The expected answers of a file that aren't the policy's.
pub fn differences(file: &str, differences: &[Difference]) -> Reply {
    let rows = differences.iter().map(|one| {
        let what = format!("{}{}", one.subject.command, place(&one.subject));
        vec![one.line.to_string(), text(&one.who), what, one.expected.to_string(), one.found.to_string(), one.why.clone()]
    });
    let body = vec![table(&["line", "who", "what", "expected", "found", "why"], rows)];
    Reply { tone: Tone::Bad, title: format!("the policy answers otherwise than {file} expects"), body }
}

/// How many expected answers were right, and how many weren't.
pub fn tally(passed: usize, failed: usize) -> String {
    format!("{passed} passed, {failed} failed")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::str::FromStr;

    use jiff::civil::{Weekday, time};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::chat::Block;
    use crate::domain::freeze::When;
    use crate::domain::message::Account;
    use crate::domain::policy::Strength;
    use crate::domain::spec::Millis;

    fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }

    fn who(groups: &[&str], people: &[&str]) -> Who {
        Who { groups: groups.iter().map(|group| name(group)).collect(), people: people.iter().map(|person| name(person)).collect() }
    }

    fn subject() -> Subject {
        Subject { command: name("deploy"), app: Some(name("antisocial")), environment: Some(name("production")) }
    }

    fn rule(allowed: bool) -> Decision {
        let through = allowed.then(|| Through::Group(name("deployers")));
        Decision { allowed, basis: Basis::Rule { line: 34, allow: who(&["deployers"], &["anna", "ben"]) }, through }
    }

    fn no(basis: Basis) -> Decision {
        Decision { allowed: false, basis, through: None }
    }

    #[test]
    fn a_refusal_names_the_rule_and_whom_it_is_for() {
        let carl = |decision| {
            denied(&Denied::Person { person: name("carl"), subject: subject(), decision: Box::new(decision), unsure: false }).title
        };
        assert_eq!(
            carl(rule(false)),
            "carl may not `deploy` antisocial production: the rule at line 34 of the fleet file is for the group deployers, anna \
             and ben; add carl there if that is wrong"
        );
        assert!(carl(no(Basis::Rule { line: 8, allow: Who::default() })).contains("line 8 of the fleet file is for nobody; "));
        assert_eq!(
            carl(no(Basis::CommandGroup(name("deployers")))),
            "carl may not `deploy` antisocial production: it needs the group `deployers` ([people.carl] groups = [...] in the fleet \
             file)"
        );
    }

    #[test]
    fn a_stranger_hears_how_to_become_known() {
        let stranger = |basis| {
            let account = Account("discord:1".to_owned());
            denied(&Denied::Stranger { account, subject: subject(), decision: Box::new(no(basis)) }).title
        };
        let add = "add the account to a person in the fleet file ([people.NAME] accounts = [...])";
        assert_eq!(stranger(Basis::ActsNeedAPerson), format!("I don't know `discord:1`; {add}"));
        let only = Guests::Only(BTreeSet::from([name("help"), name("status")]));
        assert_eq!(
            stranger(Basis::Guests(only)),
            format!("I don't know `discord:1`, and guests may use `help` and `status` only ([access] guests); {add}")
        );
    }

    #[test]
    fn can_says_whose_votes_it_takes_and_what_is_in_the_way() {
        let votes = ApprovalPolicy {
            votes: 2,
            approvers: who(&["seniors"], &["anna"]),
            requester_counts: false,
            expires: Millis::seconds(60),
            strength: Strength::Reaction,
            commands: None,
            emergency: who(&[], &["berta"]),
        };
        let berta = |groups: &[&str]| Standing {
            account: Account("terminal:berta".to_owned()),
            person: Some(name("berta")),
            groups: groups.iter().map(|group| name(group)).collect(),
            unsure: false,
        };
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let when = When::Weekly { from: (Weekday::Friday, time(16, 0, 0, 0)), to: (Weekday::Monday, time(8, 0, 0, 0)) };
        let freeze = Freeze { reason: "weekend".to_owned(), zone, when };
        let until = freeze.ends("2026-11-28T12:00:00Z".parse().unwrap()).unwrap();
        let mut access = Access::default();
        let said = |decision: Decision, standing: &Standing, access: &Access| {
            let votes = Some((&votes, standing));
            let (person, subject) = (name("berta"), subject());
            let freeze = Some((&freeze, until));
            can(&Can { person: &person, subject: &subject, decision: &decision, votes, freeze, access })
        };
        let line = |text: &str| Block::Line(text.to_owned());
        let reply = said(rule(true), &berta(&["deployers", "seniors"]), &access);
        assert_eq!(
            reply.title,
            "berta may deploy antisocial production: rule at line 34 of the fleet file, by the group deployers"
        );
        let body = [
            line("it takes 2 votes of the group seniors and anna"),
            line("a vote of berta counts, but not for what berta asks for"),
            line("in an emergency berta may do without"),
            line("frozen until Mon 2026-11-30 08:00 Europe/Berlin: weekend"),
        ];
        assert_eq!(reply.body, body);
        access.platform_roles.insert("discord:77".to_owned(), name("seniors"));
        let reply = said(rule(false), &berta(&[]), &access);
        assert!(reply.title.starts_with("berta may not deploy antisocial production: the rule at line 34"));
        assert_eq!(reply.body[1], line("a vote of berta doesn't count"));
        assert_eq!(reply.body[4], line("groups that berta has only by the roles of a chat are not counted here"));
    }
}
