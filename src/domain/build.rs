//! A build: what CI says it made.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{AppName, CommitSha, Digest, Tag};

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildOutcome {
    /// Good: may be deployed.
    Succeeded,
    /// Compiled, but its tests are not all green (Jenkins' word); announced, never the newest good build.
    Unstable,
    /// Broken.
    Failed,
    /// Stopped by someone before it ended.
    Cancelled,
}

impl fmt::Display for BuildOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            BuildOutcome::Succeeded => "succeeded",
            BuildOutcome::Unstable => "unstable",
            BuildOutcome::Failed => "failed",
            BuildOutcome::Cancelled => "cancelled",
        })
    }
}

/// The number that CI gave a build: the pipeline counts up, so a higher one was started later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildNumber {
    /// Which pipeline of which source counts. Those of two pipelines say nothing about each other.
    pub pipeline: String,
    /// The number.
    pub number: u64,
}

/// One build of one app, as announced. Free text in it (branch, author, message, url) is for showing only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The app that it is a build of.
    pub app: AppName,
    /// The tag of the image that it made, or would have made.
    pub tag: Tag,
    /// How it ended.
    pub outcome: BuildOutcome,
    /// Its number, where the source counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<BuildNumber>,
    /// The image's digest, where the source knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The commit that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitSha>,
    /// The branch that was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A page that shows the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Who made the commit, as the source names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Which source announced it: `jenkins`, `github`.
    pub source: String,
    /// When the announcement came in.
    pub at: Timestamp,
}

impl Build {
    /// Whether `other` tells more of the same build instead of being another one. CI knows the commit and the registry knows
    /// the digest, and they come as two announcements, in either order. Both with a digest of their own, and different ones: then
    /// someone built the tag again.
    pub fn is_completed_by(&self, other: &Build) -> bool {
        let same = self.app == other.app && self.tag == other.tag && self.outcome == other.outcome;
        same && match (&self.digest, &other.digest) {
            (None, Some(_)) => true,
            (Some(known), Some(digest)) => known == digest,
            // The registry was faster than CI. Only CI knows how long it took, so one that knows is another run.
            (Some(_), None) => self.seconds.is_none(),
            (None, None) => false,
        }
    }

    /// Whether it was started later than `other`, which came as another announcement. A slow build, and an old one that is run
    /// again, end after newer ones: the order in which two ended decides only where their numbers can't.
    pub fn is_newer_than(&self, other: &Build, announced_later: bool) -> bool {
        match (&self.number, &other.number) {
            (Some(this), Some(that)) if this.pipeline == that.pipeline && this.number != that.number => this.number > that.number,
            _ => announced_later,
        }
    }

    /// Takes over what `other` knows and this one doesn't. It stays announced by the first source, at the first time.
    pub fn complete(&mut self, other: Build) {
        fn fill<T>(known: &mut Option<T>, told: Option<T>) {
            if known.is_none() {
                *known = told;
            }
        }
        fill(&mut self.number, other.number);
        fill(&mut self.digest, other.digest);
        fill(&mut self.commit, other.commit);
        fill(&mut self.branch, other.branch);
        fill(&mut self.url, other.url);
        fill(&mut self.author, other.author);
        fill(&mut self.message, other.message);
        fill(&mut self.seconds, other.seconds);
    }
}
