//! Where there is more about a deployment.

use crate::chat::{Block, Link, Place};
use crate::domain::message::MessageRef;
use crate::domain::names::{DeploymentId, Tag};

/// The page of a build.
pub fn build_link(tag: &Tag, address: String) -> Link {
    Link { label: format!("build page of {tag}"), to: Place::Page(address) }
}

/// The page with the commits that a deployment brings.
pub fn brings_link(from: &Tag, address: String) -> Link {
    Link { label: format!("commits since {from}"), to: Place::Page(address) }
}

/// The page with the commits that a revert takes away.
pub fn takes_back_link(to: &Tag, address: String) -> Link {
    Link { label: format!("commits since {to}, which it takes back"), to: Place::Page(address) }
}

/// The message of the deployment that a revert reverts.
pub fn reverts_link(id: DeploymentId, message: MessageRef) -> Link {
    Link { label: format!("{id}, which it reverts"), to: Place::Message(message) }
}

/// All of them.
pub fn links(links: Vec<Link>) -> Option<Block> {
    (!links.is_empty()).then_some(Block::Links(links))
}
