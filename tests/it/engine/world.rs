//! The world that an engine acts on, as a test sees it from outside. One implementation for each engine.
//!
//! Every world has three hosts, a balancer, and a registry with the rig's builds: build-41..43 good, 44 migrate exits 1,
//! 45 `run` exits 3, 46 never healthy, 47 listens after 5 s, 48 ignores TERM, 49 migrate takes 600 s, 54 migrate dies of
//! signal 9, 56 migrate prints SECRET_KEY. Their variables (START_SECS, MIGRATE_SECS...) can be set by the container's.

use std::sync::atomic::{AtomicU16, Ordering};

use async_trait::async_trait;
use shipmate::domain::names::{HostName, Repository};
use shipmate::domain::spec::HostSpec;
use shipmate::engine::Engine;

/// The secret that the bot's environment has under the name `APP_SECRET`.
pub const SENTINEL: &str = "sentinel-4f0c-of-the-bot";

/// A world.
#[async_trait]
pub trait World: Sync {
    /// An engine as it is after a start of the bot: it knows nothing of what was before.
    async fn engine(&self) -> Box<dyn Engine>;

    /// The repository of the builds.
    fn image(&self) -> Repository;

    /// Three hosts.
    fn hosts(&self) -> Vec<(HostName, HostSpec)>;

    /// The host that `lb-join HOST ADDR:PORT` and `lb-leave HOST ADDR:PORT` run on.
    fn balancer(&self) -> HostName;

    /// What the balancer sends requests to, as `HOST ADDR:PORT`.
    async fn balanced(&self) -> Vec<String>;

    /// The body that a server answers to `GET /`; `None` if nobody listens.
    async fn serves(&self, address: &str) -> Option<String>;

    /// A file of a host.
    async fn read(&self, host: &HostName, path: &str) -> Option<String>;

    /// Writes a file of a host.
    async fn write(&self, host: &HostName, path: &str, text: &str);

    /// Takes the registry away, or brings it back.
    async fn registry(&self, up: bool);

    /// Cuts a host's power, or starts it again. Its disk is kept.
    async fn power(&self, host: &HostName, on: bool);
}

/// Whether a test has the world for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Others act on it too, with apps, folders and ports of their own.
    Shared,
    /// The test does what others would notice.
    Alone,
}

/// A port that no other test uses.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(9000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
