//! What can happen to a deployment, as the journal keeps it for ever.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Outcome};
use crate::domain::ballot::Uncounted;
use crate::domain::changed::Changed;
use crate::domain::message::{Account, MessageRef};
use crate::domain::names::{CommandName, DeploymentId, PersonName, RoleName, Tag};
use crate::domain::plan::{ActionIndex, Plan, PlanHash};
use crate::domain::policy::Strength;

/// What was asked for, so that a plan can be made again when its turn comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The command.
    pub command: CommandName,
    /// The tag that it is about: typed, or that of the newest good build at that time. `None` where the command has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Only this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The words that are run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Whether the person said that they only read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read: bool,
    /// What gave rise to it.
    #[serde(default)]
    pub occasion: Occasion,
}

/// What gave rise to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Occasion {
    /// A person asked for it.
    #[default]
    Person,
    /// A person asked for it without the votes that it takes.
    Emergency {
        /// Why, in the person's words.
        reason: String,
    },
    /// A good build of the branch that is deployed by itself.
    Build {
        /// The fact that announced it.
        seq: u64,
    },
    /// The deployment before it didn't stay healthy, or a person said so.
    Bake {
        /// Which.
        of: DeploymentId,
    },
    /// People are about to be asked for their votes, and want to see what this says.
    Rehearsal,
}

impl Occasion {
    /// Whether it doesn't queue behind what waits, only behind what runs.
    pub fn is_urgent(&self) -> bool {
        match self {
            Occasion::Emergency { .. } | Occasion::Bake { .. } => true,
            Occasion::Person | Occasion::Build { .. } | Occasion::Rehearsal => false,
        }
    }
}

/// How a vote came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// As an emoji, while the bot listened.
    Live,
    /// As an emoji that the bot found when it was back.
    AfterReconnect,
    /// As a typed command.
    Typed,
}

/// What people are asked to vote on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// How many people must approve.
    pub votes: u32,
    /// When it is too late.
    pub until: Timestamp,
    /// How a vote is given.
    pub strength: Strength,
    /// The plan that they vote on.
    pub hash: PlanHash,
    /// What was run beforehand, for people to see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rehearsals: Vec<DeploymentId>,
}

/// What people can say when an action failed, or when not everything could be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Try again what failed, and go on.
    Retry,
    /// Put back what was done on the host that failed, and go on without it.
    Skip,
    /// Put everything back.
    Undo,
    /// Leave everything as it is.
    Keep,
}

/// Something that happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Asked for and planned. Unless it `waits`, it was also granted the lock of its app and environment.
    Requested {
        /// What it will do.
        plan: Box<Plan>,
        /// Who asked.
        by: PersonName,
        /// The chat message that asked, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<MessageRef>,
        /// What was asked for; journals of the first schema don't have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<Box<Order>>,
        /// Whether something must be so before it starts: votes, or the end of another deployment.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
    },
    /// The plan was made again and is another one. Votes for the earlier one count no longer.
    Replanned {
        /// What it will do now.
        plan: Box<Plan>,
        /// What makes it another one.
        changed: Vec<Changed>,
    },
    /// People are asked for their votes.
    VotesAsked {
        /// On what.
        #[serde(flatten)]
        call: Call,
    },
    /// A person approves the plan.
    Approved {
        /// Who.
        by: PersonName,
        /// By which account.
        account: Account,
        /// How.
        found: Found,
        /// The message that the emoji is at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<MessageRef>,
        /// The plan that it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<PlanHash>,
    },
    /// A vote that doesn't count, told to whoever gave it.
    NotCounted {
        /// Who.
        account: Account,
        /// Why not.
        why: Uncounted,
        /// The message that the emoji is at, or that was typed.
        message: MessageRef,
    },
    /// A person took the approval back.
    ApprovalWithdrawn {
        /// Who.
        by: PersonName,
    },
    /// A person votes no.
    VotedDown {
        /// Who.
        by: PersonName,
        /// By which account.
        account: Account,
        /// How.
        found: Found,
        /// The plan that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<PlanHash>,
    },
    /// The message that people voted on is gone, and with it their votes.
    VotesLost {
        /// The message.
        message: MessageRef,
    },
    /// Nobody voted in time.
    Expired {},
    /// A newer build's deployment takes its place.
    Superseded {
        /// Which.
        by: DeploymentId,
    },
    /// When its turn came, something stood in the way that waiting doesn't mend.
    Refused {
        /// What, for people.
        why: String,
    },
    /// Granted the lock of its app and environment.
    Started {
        /// How many approvals it took by the policy of this moment.
        needed: u32,
        /// Whose approvals counted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        counted: Vec<PersonName>,
    },
    /// An action is about to act.
    ActionStarted {
        /// Which.
        action: ActionIndex,
    },
    /// An action acted.
    ActionDone {
        /// Which.
        action: ActionIndex,
        /// What it left behind.
        outcome: Outcome,
    },
    /// An action failed.
    ActionFailed {
        /// Which.
        action: ActionIndex,
        /// Why.
        failure: Failure,
    },
    /// A person asked to stop and put everything back.
    CancelAsked {
        /// Who.
        by: PersonName,
    },
    /// After a failure: how it goes on.
    Chosen {
        /// How.
        choice: Choice,
        /// Who said so; `None` = nobody did in time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<PersonName>,
    },
    /// The undo of an action is about to act.
    UndoStarted {
        /// Which.
        action: ActionIndex,
    },
    /// An action is undone.
    UndoDone {
        /// Which.
        action: ActionIndex,
    },
    /// The undo of an action failed.
    UndoFailed {
        /// Which.
        action: ActionIndex,
        /// Why.
        failure: Failure,
    },
    /// A later deployment brought the app to order after this one was stuck.
    Mended {
        /// Which.
        by: DeploymentId,
    },
    /// A person looked at a deployment that was done without votes in an emergency.
    Reviewed {
        /// Who.
        by: PersonName,
    },
}
