//! Where builds come from: one file for each service that can tell us of one.
//!
//! A source only proves and reads; it knows neither our apps nor our tags. What it says is a [`Notice`] in the words of
//! the service; the fleet file's rules turn that into a [`Build`](crate::domain::build::Build). A source is pure, so a
//! body can be read again and tests need no server.

use http::HeaderMap;

use crate::domain::build::BuildOutcome;
use crate::domain::names::{CommitSha, Digest};

/// One finished build in the words of the service that announced it. All text is untrusted and for showing only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The delivery's id, where the service gives one; the same id is the same notice.
    pub delivery: Option<String>,
    /// What the service calls the project: a job's name, `owner/repository`, an image repository.
    pub project: String,
    /// What started the build (`push`, `pull_request`, ...), where the service says it.
    pub trigger: Option<String>,
    /// The build's number.
    pub number: Option<u64>,
    /// The image tag, where the service knows it.
    pub tag: Option<String>,
    /// The image's digest, where the service knows it.
    pub digest: Option<Digest>,
    /// How the build ended.
    pub outcome: BuildOutcome,
    /// The commit that was built.
    pub commit: Option<CommitSha>,
    /// The branch that was built.
    pub branch: Option<String>,
    /// A page that shows the build.
    pub url: Option<String>,
    /// Who made the commit.
    pub author: Option<String>,
    /// The first line of the commit's message.
    pub message: Option<String>,
    /// How long the build took, in seconds.
    pub seconds: Option<u64>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No valid proof of who sent it. Answered with 401.
    #[error("unauthorized: {0}")]
    Unauthorized(&'static str),
    /// Proven, but not of the shape that the service documents. Answered with 400.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// A service that announces builds.
pub trait BuildSource: Send + Sync {
    /// The last part of its path, `POST /builds/{name}`.
    fn name(&self) -> &'static str;

    /// Proves that the request is from the service, then reads it. No notice means: an event that is no finished build, answered with 200.
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Notice>, Rejection>;
}
