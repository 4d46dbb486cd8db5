//! Where everything stands in the store: one keyspace, one letter for each kind of row.
//!
//! | key | value |
//! |---|---|
//! | `f` group part | facts (see `facts`): the truth, all other rows follow from these |
//! | `k` hash | seq of the fact that had this key (a build's delivery, a message's id) |
//! | `b` app seq | a build: seq of each fact that completes it |
//! | `t` app tag | seq of the tag's newest build |
//! | `g` app seq | a good build |
//! | `d` id | a deployment's summary |
//! | `e` id page | seq of each of its events, [`EVENTS_A_PAGE`] on a page |
//! | `o` id | how many events an open deployment has; stuck ones are open |
//! | `h` app environment id | history |
//! | `l` app environment | who holds the lock, and which stuck ones it took it over from |
//! | `r` app environment role host | what a target runs and goes back to |
//! | `i` seq | a message that waits for an answer |
//! | `u` room | how far what people said there is dealt with |
//! | `x` app environment | the lock that a person or the policy put on it |
//! | `a` account | the person whom it was linked to |
//! | `w` app environment | the build that is to be deployed there by itself |
//! | `z` app environment | the last report of how the hosts differ from the record |
//! | `p` page | what posts are about, [`POSTS_A_PAGE`] on a page |
//! | `c` room | the newest post that the room shows |
//! | `v` room post | the message that shows a live post, or another one that people may still answer to |
//! | `y` room page | the messages that closed deployments, [`CLOSINGS_A_PAGE`] on a page |
//! | `m` name | head, counts, schema |
//!
//! Numbers are big-endian, so that their order is that of the keys. Names end with a NUL, which no name has. Values are JSON
//! (an old row must be readable after a field was added), but for plain numbers. Few rows are better than many: sled's memory and
//! its start grow with their number. That is why lists are kept in pages.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{Key, MAX_VALUE, PostId, StoreError};
use crate::domain::message::{Account, MessageRef, RoomId};
use crate::domain::names::{AppName, DeploymentId, EnvironmentName, HostName, RoleName, Tag};
use crate::domain::plan::Target;

/// How many of a deployment's events are listed in one row: such a row is written again for each of them.
pub(super) const EVENTS_A_PAGE: u32 = 64;

/// How many posts are listed in one row.
const POSTS_A_PAGE: u64 = 64;

/// How many closing messages are listed in one row; an id of a message may be long.
const CLOSINGS_A_PAGE: u64 = 8;

pub(super) const HEAD: &[u8] = b"mhead";
pub(super) const COUNTS: &[u8] = b"mcounts";
/// When the journal's head was last told to the rooms.
pub(super) const HEAD_TOLD: &[u8] = b"mheadtold";

pub(super) fn facts(group: u64, part: usize) -> Key {
    key(b'f', &[&group.to_be_bytes(), &u32::try_from(part).unwrap_or(u32::MAX).to_be_bytes()])
}

/// The key by which an announcement of a build is recognised.
pub(super) fn seen_build(text: &str) -> Key {
    seen(&["build", text])
}

/// The key by which a message is recognised.
pub(super) fn seen_message(message: &MessageRef) -> Key {
    seen(&["message", &message.room.0, &message.id])
}

/// The key by which a message that can't be read is recognised; when it can be, it is a message like others.
pub(super) fn seen_unreadable(message: &MessageRef) -> Key {
    seen(&["unreadable", &message.room.0, &message.id])
}

/// Hashed: these texts come from outside and may be of any length.
fn seen(parts: &[&str]) -> Key {
    let hash = Sha256::digest(parts.join("\0"));
    key(b'k', &[&hash[..16]])
}

pub(super) fn build(app: &AppName, seq: u64) -> Key {
    key(b'b', &[&name(app.as_str()), &seq.to_be_bytes()])
}

pub(super) fn builds(app: &AppName) -> Range<Key> {
    all(key(b'b', &[&name(app.as_str())]))
}

pub(super) fn tag(app: &AppName, tag: &Tag) -> Key {
    key(b't', &[&name(app.as_str()), tag.as_str().as_bytes()])
}

pub(super) fn good_build(app: &AppName, seq: u64) -> Key {
    key(b'g', &[&name(app.as_str()), &seq.to_be_bytes()])
}

pub(super) fn good_builds(app: &AppName) -> Range<Key> {
    all(key(b'g', &[&name(app.as_str())]))
}

pub(super) fn summary(id: DeploymentId) -> Key {
    key(b'd', &[&id.0.to_be_bytes()])
}

/// The page that lists a deployment's event number `n`, counted from 0.
pub(super) fn events(id: DeploymentId, n: u32) -> Key {
    key(b'e', &[&id.0.to_be_bytes(), &(n / EVENTS_A_PAGE).to_be_bytes()])
}

pub(super) fn open(id: DeploymentId) -> Key {
    key(b'o', &[&id.0.to_be_bytes()])
}

pub(super) fn all_open() -> Range<Key> {
    all(vec![b'o'])
}

pub(super) fn history(app: &AppName, environment: &EnvironmentName, id: DeploymentId) -> Key {
    key(b'h', &[&name(app.as_str()), &name(environment.as_str()), &id.0.to_be_bytes()])
}

/// All of an app's history in one environment.
pub(super) fn histories(app: &AppName, environment: &EnvironmentName) -> Range<Key> {
    all(key(b'h', &[&name(app.as_str()), &name(environment.as_str())]))
}

/// All of an app's history.
pub(super) fn app_histories(app: &AppName) -> Range<Key> {
    all(key(b'h', &[&name(app.as_str())]))
}

/// The environment that a history row's key names.
pub(super) fn history_environment(key: &[u8]) -> Result<EnvironmentName, StoreError> {
    let name = key.split(|byte| *byte == 0).nth(1).map(|name| String::from_utf8_lossy(name).parse());
    name.and_then(Result::ok).ok_or_else(|| StoreError::Damaged("a history's key names no environment".to_owned()))
}

pub(super) fn lock(app: &AppName, environment: &EnvironmentName) -> Key {
    place(b'l', app, environment)
}

pub(super) fn record(app: &AppName, environment: &EnvironmentName, target: &Target) -> Key {
    let Target { role, host } = target;
    let place = [name(app.as_str()), name(environment.as_str()), name(role.as_str()), host.as_str().into()];
    key(b'r', &[&place[0], &place[1], &place[2], &place[3]])
}

pub(super) fn records(app: &AppName, environment: &EnvironmentName) -> Range<Key> {
    all(key(b'r', &[&name(app.as_str()), &name(environment.as_str())]))
}

/// The target that a record's key names.
pub(super) fn record_target(key: &[u8]) -> Result<Target, StoreError> {
    let mut names = key.split(|byte| *byte == 0).skip(2).map(|name| std::str::from_utf8(name).unwrap_or_default());
    let role: Option<RoleName> = names.next().and_then(|name| name.parse().ok());
    let host: Option<HostName> = names.next().and_then(|name| name.parse().ok());
    match (role, host) {
        (Some(role), Some(host)) => Ok(Target { role, host }),
        _ => Err(StoreError::Damaged("a record's key names no target".to_owned())),
    }
}

pub(super) fn environment_lock(app: &AppName, environment: &EnvironmentName) -> Key {
    place(b'x', app, environment)
}

pub(super) fn environment_locks() -> Range<Key> {
    all(vec![b'x'])
}

pub(super) fn link(account: &Account) -> Key {
    key(b'a', &[account.0.as_bytes()])
}

pub(super) fn links() -> Range<Key> {
    all(vec![b'a'])
}

/// The account that a link's key names.
pub(super) fn linked_account(key: &[u8]) -> Account {
    Account(String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned())
}

pub(super) fn automatic(app: &AppName, environment: &EnvironmentName) -> Key {
    place(b'w', app, environment)
}

/// The newest build that was to be deployed by itself, or the one that a person deployed since.
pub(super) fn followed(app: &AppName, environment: &EnvironmentName) -> Key {
    place(b'n', app, environment)
}

pub(super) fn all_automatic() -> Range<Key> {
    all(vec![b'w'])
}

pub(super) fn drift(app: &AppName, environment: &EnvironmentName) -> Key {
    place(b'z', app, environment)
}

fn place(kind: u8, app: &AppName, environment: &EnvironmentName) -> Key {
    key(kind, &[&name(app.as_str()), environment.as_str().as_bytes()])
}

/// The app and the environment that a key names which has nothing else.
pub(super) fn named_place(key: &[u8]) -> Result<(AppName, EnvironmentName), StoreError> {
    let mut names =
        key.get(1..).unwrap_or_default().split(|byte| *byte == 0).map(|name| std::str::from_utf8(name).unwrap_or_default());
    let app = names.next().and_then(|name| name.parse().ok());
    let environment = names.next().and_then(|name| name.parse().ok());
    app.zip(environment).ok_or_else(|| StoreError::Damaged("a key names no environment".to_owned()))
}

pub(super) fn inbox(seq: u64) -> Key {
    key(b'i', &[&seq.to_be_bytes()])
}

pub(super) fn all_inbox() -> Range<Key> {
    all(vec![b'i'])
}

pub(super) fn heard_up_to(room: &RoomId) -> Key {
    key(b'u', &[room.0.as_bytes()])
}

/// The page that a post is on, and its place there.
pub(super) fn post(id: PostId) -> (Key, usize) {
    let place = id.0.saturating_sub(1);
    (key(b'p', &[&(place / POSTS_A_PAGE).to_be_bytes()]), usize::try_from(place % POSTS_A_PAGE).unwrap_or(usize::MAX))
}

pub(super) fn cursor(room: &RoomId) -> Key {
    key(b'c', &[room.0.as_bytes()])
}

pub(super) fn view(room: &RoomId, post: PostId) -> Key {
    key(b'v', &[&name(&room.0), &post.0.to_be_bytes()])
}

/// The row that has the closing messages of a deployment and of its neighbours in a room.
pub(super) fn closings(room: &RoomId, id: DeploymentId) -> Key {
    key(b'y', &[&name(&room.0), &(id.0 / CLOSINGS_A_PAGE).to_be_bytes()])
}

pub(super) fn views(room: &RoomId) -> Range<Key> {
    all(key(b'v', &[&name(&room.0)]))
}

fn key(kind: u8, parts: &[&[u8]]) -> Key {
    let mut key = vec![kind];
    parts.iter().for_each(|part| key.extend(*part));
    key
}

fn name(text: &str) -> Vec<u8> {
    let mut name = text.as_bytes().to_vec();
    name.push(0);
    name
}

/// All keys that begin with `prefix`, whose last byte is a letter, a NUL or of a number that never gets near its limit.
fn all(prefix: Key) -> Range<Key> {
    let mut end = prefix.clone();
    if let Some(place) = end.iter().rposition(|byte| *byte < u8::MAX) {
        end[place] += 1;
        end.truncate(place + 1);
    }
    prefix..end
}

/// The number at the end of a key.
pub(super) fn last_number(key: &[u8]) -> Result<u64, StoreError> {
    number(key.get(key.len().saturating_sub(8)..).unwrap_or_default())
}

pub(super) fn number(value: &[u8]) -> Result<u64, StoreError> {
    let bytes = value.try_into().map_err(|_| StoreError::Damaged(format!("a number of {} bytes", value.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

/// A list of numbers, one after the other.
pub(super) fn numbers(value: &[u8]) -> Result<Vec<u64>, StoreError> {
    value.chunks(8).map(number).collect()
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| StoreError::Damaged(format!("a row can't be written: {error}")))?;
    if bytes.len() > MAX_VALUE { Err(StoreError::TooLong(bytes.len())) } else { Ok(bytes) }
}

pub(super) fn read_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Damaged(format!("a row can't be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_prefix_and_nothing_else() {
        let (app, longer): (AppName, AppName) = ("blog".parse().unwrap(), "blog-old".parse().unwrap());
        let range = builds(&app);
        assert!(range.contains(&build(&app, 0)) && range.contains(&build(&app, u64::MAX)));
        assert!(!range.contains(&build(&longer, 5)));
        assert_ne!(events(DeploymentId(1), EVENTS_A_PAGE - 1), events(DeploymentId(1), EVENTS_A_PAGE));
    }

    #[test]
    fn a_records_key_names_its_target() {
        let target = Target { role: "web".parse().unwrap(), host: "deploy@10.0.0.7".parse().unwrap() };
        let key = record(&"blog".parse().unwrap(), &"production".parse().unwrap(), &target);
        assert_eq!(record_target(&key), Ok(target));
    }
}
