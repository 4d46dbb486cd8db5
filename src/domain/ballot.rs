//! Counting votes: whose approval of a plan counts, and whether there are enough.
//!
//! Votes are counted anew each time, by the groups that people are in at that moment: an approval of someone who has lost the
//! group since doesn't count at the start. So a vote is recorded when it is given, and judged when it matters.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::deployment::{Found, Vote};
use super::message::Doubt;
use super::names::{GroupName, PersonName};
use super::policy::{ApprovalPolicy, Strength, Who};

/// Why a vote isn't counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncounted {
    /// The account is nobody's.
    Stranger,
    /// It is the vote of the person who asked.
    Requester,
    /// The person isn't among those whose votes count.
    NotAnApprover,
    /// The person has voted already, by this account or another one.
    Again,
    /// An emoji doesn't suffice here: the plan's code must be typed.
    TooWeak,
    /// It was typed, but nothing proves who typed it, and here that must be proven.
    Unproven(Doubt),
}

/// What the votes come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// How many approvals it takes.
    pub needed: u32,
    /// Whose count.
    pub counted: Vec<PersonName>,
    /// Whose don't, with why.
    pub uncounted: Vec<(PersonName, Uncounted)>,
}

impl Tally {
    /// How many approvals are missing.
    pub fn missing(&self) -> u32 {
        self.needed.saturating_sub(u32::try_from(self.counted.len()).unwrap_or(u32::MAX))
    }

    /// Whether there are enough.
    pub fn suffices(&self) -> bool {
        self.missing() == 0
    }
}

/// Whether a person's vote counts by the policy.
///
/// # Errors
/// With why not.
pub fn may_vote(
    policy: &ApprovalPolicy,
    requester: &PersonName,
    person: &PersonName,
    groups: &BTreeSet<GroupName>,
) -> Result<(), Uncounted> {
    if person == requester && !policy.requester_counts {
        return Err(Uncounted::Requester);
    }
    if is_among(&policy.approvers, person, groups) { Ok(()) } else { Err(Uncounted::NotAnApprover) }
}

/// Counts the approvals of a plan by the groups that people are in now.
pub fn count(
    policy: &ApprovalPolicy,
    requester: &PersonName,
    votes: &BTreeMap<PersonName, Vote>,
    groups: impl Fn(&PersonName) -> BTreeSet<GroupName>,
) -> Tally {
    let mut tally = Tally { needed: policy.votes, counted: Vec::new(), uncounted: Vec::new() };
    for (person, vote) in votes {
        let weak = policy.strength == Strength::Typed && vote.found != Found::Typed;
        let judged = may_vote(policy, requester, person, &groups(person));
        match judged.and(if weak { Err(Uncounted::TooWeak) } else { Ok(()) }) {
            Ok(()) => tally.counted.push(person.clone()),
            Err(why) => tally.uncounted.push((person.clone(), why)),
        }
    }
    tally
}

/// Whether a person in these groups is named.
pub fn is_among(who: &Who, person: &PersonName, groups: &BTreeSet<GroupName>) -> bool {
    who.people.contains(person) || groups.iter().any(|group| who.groups.contains(group))
}
