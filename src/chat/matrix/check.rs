//! What `shipmate check` says of Matrix: the login, the bot's device, each room, and who in them could not approve by a typed code.
//!
//! It may run beside the bot, so it never syncs: that would take away keys which are meant for the bot. Nor does it join or show anything.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::folder::Folder;
use super::{Login, Matrix, session};
use crate::chat::Checked;
use crate::secret::Secret;

/// The room versions from which on whoever made a room has all power.
const CREATORS_RULE_FROM: u32 = 12;

/// Somebody who asks the homeserver.
pub(super) struct Asker<'a> {
    /// What speaks to it.
    pub client: &'a matrix_sdk::Client,
    /// Where it is.
    pub homeserver: &'a str,
    /// What proves who asks.
    pub token: Secret,
}

impl Matrix {
    /// Looks at all that can be known before the first message; nothing is shown in any room.
    pub async fn check(&self) -> Vec<Checked> {
        let parts = self.parts();
        let client = match session::passing(parts).await {
            Ok(client) => client,
            Err(why) => return vec![Checked::new("login", Err(why))],
        };
        let folder = Folder::at(&parts.store);
        let kept = match folder.session() {
            Ok(kept) => kept,
            Err(error) => return vec![Checked::new("login", Err(format!("{}: {error}", parts.store.display())))],
        };
        let (token, passing) = match (&parts.login, &kept) {
            (Login::Token(token), _) => (Ok(token.clone()), false),
            (Login::Password(_), Some(kept)) => {
                (Secret::new(&kept.token).ok_or_else(|| "its session has no token".to_owned()), false)
            }
            (Login::Password(password), None) => {
                let logged_in = session::log_in(&client, parts, self.me(), password).await;
                (logged_in.and_then(|kept| Secret::new(kept.token).ok_or_else(|| "it got no token".to_owned())), true)
            }
        };
        let all = match token {
            Ok(token) => {
                let asker = Asker { client: &client, homeserver: &parts.homeserver, token };
                self.look(&asker, kept.map(|kept| kept.device), &folder).await
            }
            Err(why) => vec![Checked::new("login", Err(why))],
        };
        if passing {
            // The device that was only for this look; without it nothing is lost.
            let _ = client.matrix_auth().logout().await;
        }
        all
    }

    async fn look(&self, asker: &Asker<'_>, kept: Option<String>, folder: &Folder) -> Vec<Checked> {
        let me = self.me().as_str();
        let device = match session::whoami(asker.client, asker.homeserver, &asker.token).await {
            Ok((user, _)) if user != me => return vec![Checked::new("login", Err(format!("the token is {user}'s, not {me}'s")))],
            Ok((_, device)) => device,
            Err(why) => return vec![Checked::new("login", Err(why))],
        };
        let mut all = vec![Checked::new("login", Ok(format!("the bot is {me} at {}", asker.homeserver)))];
        let with_token = matches!(self.parts().login, Login::Token(_));
        // With a token a lost session is made again, with a password it isn't.
        let left = folder.device().ok().flatten();
        all.push(match kept.or_else(|| left.clone().filter(|_| with_token)) {
            None if with_token => Checked::new("device", asker.is_new(me, &device, folder).await),
            None => {
                let new = || Ok("the first start makes it, with its keys".to_owned());
                Checked::new("device", left.map_or_else(new, |left| Err(session::session_is_gone(&left, folder))))
            }
            Some(kept) if kept != device => {
                Checked::new("device", Err(format!("the token is of the device {device}, and the keys are those of {kept}")))
            }
            Some(_) if !folder.has_keys() => Checked::new(
                "device",
                Err(format!("the keys of {device} are gone from {}: it would read nothing", folder.path().display())),
            ),
            Some(_) => {
                Checked::new("device", asker.keys(&BTreeSet::from([me.to_owned()])).await.and_then(|keys| own(&keys, me, &device)))
            }
        });
        if folder.recovery().exists() {
            let file = folder.recovery();
            let left = format!("its key still lies in {}: keep it elsewhere and delete the file", file.display());
            all.push(Checked::new("recovery", Ok(left)));
        }
        let mut people = BTreeSet::new();
        for (name, id) in &self.0.rooms {
            let state = asker.state(id.as_str()).await;
            if let Ok(state) = &state {
                people.extend(members(state).into_iter().filter(|user| user != me));
            }
            all.push(Checked::new(name.0.as_str(), state.and_then(|state| judge(&state, me))));
        }
        if !people.is_empty() {
            all.push(Checked::new("cross-signing", asker.keys(&people).await.map(|keys| unsigned(&keys, &people))));
        }
        all
    }
}

impl Asker<'_> {
    /// All of a room's state.
    async fn state(&self, room: &str) -> Result<Vec<Value>, String> {
        let room = utf8_percent_encode(room, NON_ALPHANUMERIC);
        let url = format!("{}/_matrix/client/v3/rooms/{room}/state", self.homeserver);
        let said = session::asked(self.client.http_client().get(url).bearer_auth(self.token.expose())).await;
        match said {
            Ok(Value::Array(state)) => Ok(state),
            Ok(_) => Err("the homeserver tells no state of it".to_owned()),
            Err(why) if why.contains("403") => Err("the bot isn't in the room: invite it, and it joins when it runs".to_owned()),
            Err(why) => Err(why),
        }
    }

    /// Whether the device of a token was never used: what the start asks too.
    async fn is_new(&self, me: &str, device: &str, folder: &Folder) -> Result<String, String> {
        match session::has_keys(self.client, self.homeserver, &self.token, me, device).await? {
            true => Err(session::used_before(device, folder)),
            false => Ok(format!("{device} is new; the first start makes its keys")),
        }
    }

    /// The keys of accounts, as the homeserver has them.
    pub async fn keys(&self, users: &BTreeSet<String>) -> Result<Value, String> {
        let all: serde_json::Map<String, Value> = users.iter().map(|user| (user.clone(), json!([]))).collect();
        let url = format!("{}/_matrix/client/v3/keys/query", self.homeserver);
        let body = json!({ "device_keys": all }).to_string();
        let request = self.client.http_client().post(url).bearer_auth(self.token.expose());
        session::asked(request.header("content-type", "application/json").body(body)).await
    }
}

/// Whether the bot's own device is signed by its account.
pub(super) fn own(keys: &Value, me: &str, device: &str) -> Result<String, String> {
    let signer = keys.pointer("/self_signing_keys").and_then(|all| all.get(me)?.get("keys")?.as_object()?.keys().next());
    let signatures = keys.get("device_keys").and_then(|all| all.get(me)?.get(device)?.get("signatures")?.get(me));
    match (signer, signatures) {
        (Some(signer), Some(signatures)) if signatures.get(signer).is_some() => Ok(format!("{device}, cross-signed")),
        (Some(_), Some(_)) => Err(format!(
            "{device} isn't cross-signed, so people's apps may keep their messages from it: set SHIPMATE_MATRIX_RECOVERY_KEY and start the bot"
        )),
        (None, Some(_)) => Err(format!("{device}: the account has no cross-signing; the next start sets it up")),
        (_, None) => Err(format!("the homeserver has no keys of {device}: the next start sends them")),
    }
}

/// Who has no cross-signing.
fn unsigned(keys: &Value, people: &BTreeSet<String>) -> String {
    let has_it = |user: &&String| keys.get("master_keys").is_none_or(|all| all.get(user.as_str()).is_none());
    let without: Vec<&str> = people.iter().filter(has_it).map(String::as_str).collect();
    if without.is_empty() {
        return "everybody in the rooms has it".to_owned();
    }
    format!("without it, so their typed approvals don't count: {}", without.join(", "))
}

/// The content of a state event.
fn content<'a>(state: &'a [Value], kind: &str) -> Option<&'a Value> {
    let has =
        |event: &&Value| event.get("type").and_then(Value::as_str) == Some(kind) && event.get("state_key") == Some(&json!(""));
    state.iter().find(has)?.get("content")
}

fn members(state: &[Value]) -> Vec<String> {
    let joined = state.iter().filter(|event| {
        event.get("type").and_then(Value::as_str) == Some("m.room.member")
            && event.pointer("/content/membership").and_then(Value::as_str) == Some("join")
    });
    joined.filter_map(|event| Some(event.get("state_key")?.as_str()?.to_owned())).collect()
}

/// What is right with a room, or all that is wrong.
fn judge(state: &[Value], me: &str) -> Result<String, String> {
    let mut wrong = Vec::new();
    if !members(state).iter().any(|user| user == me) {
        wrong.push("the bot isn't in the room: invite it, and it joins when it runs".to_owned());
    }
    if let Some(successor) = content(state, "m.room.tombstone").and_then(|content| content.get("replacement_room")?.as_str()) {
        wrong.push(format!("it was replaced by {successor}: name that in the fleet file, and invite the bot there"));
    }
    match content(state, "m.room.join_rules").and_then(|content| content.get("join_rule")?.as_str()).unwrap_or("invite") {
        "invite" => {}
        rule => wrong.push(format!("whoever is not invited may come in (`{rule}`): let only those join who are invited")),
    }
    let is_encrypted = content(state, "m.room.encryption").is_some();
    let power = power(state, me);
    for (what, kind) in
        [("send messages", if is_encrypted { "m.room.encrypted" } else { "m.room.message" }), ("react", "m.reaction")]
    {
        let needed = needed(state, kind);
        if power.is_some_and(|power| power < needed) {
            wrong.push(format!("the bot may not {what}: it takes a power level of {needed}"));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let name = content(state, "m.room.name").and_then(|content| content.get("name")?.as_str()).unwrap_or("it has no name");
    let encrypted = if is_encrypted { "encrypted" } else { "not encrypted" };
    Ok(format!("{name}; {encrypted}, invite only"))
}

/// The power of an account; `None` = all that there is.
fn power(state: &[Value], user: &str) -> Option<i64> {
    let created = state.iter().find(|event| event.get("type").and_then(Value::as_str) == Some("m.room.create"));
    let version = created.and_then(|event| event.pointer("/content/room_version")?.as_str()?.parse().ok()).unwrap_or(1);
    let made_by = created.and_then(|event| event.get("sender")?.as_str());
    let and_by = created.and_then(|event| event.pointer("/content/additional_creators")?.as_array());
    if version >= CREATORS_RULE_FROM && (made_by == Some(user) || and_by.is_some_and(|all| all.contains(&json!(user)))) {
        return None;
    }
    let Some(levels) = content(state, "m.room.power_levels") else { return Some(if made_by == Some(user) { 100 } else { 0 }) };
    let own = levels.get("users").and_then(|users| users.get(user)?.as_i64());
    Some(own.or_else(|| levels.get("users_default")?.as_i64()).unwrap_or(0))
}

/// The power that it takes to send such an event.
fn needed(state: &[Value], kind: &str) -> i64 {
    let levels = content(state, "m.room.power_levels");
    let of = levels.and_then(|levels| levels.get("events")?.get(kind)?.as_i64());
    of.or_else(|| levels?.get("events_default")?.as_i64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, key: &str, content: Value) -> Value {
        json!({ "type": kind, "state_key": key, "sender": "@anna:x", "content": content })
    }

    fn room(more: Vec<Value>) -> Vec<Value> {
        let mut state = vec![
            event("m.room.create", "", json!({ "room_version": "11" })),
            event("m.room.name", "", json!({ "name": "deploys" })),
            event("m.room.join_rules", "", json!({ "join_rule": "invite" })),
            event("m.room.member", "@anna:x", json!({ "membership": "join" })),
            event("m.room.member", "@bot:x", json!({ "membership": "join" })),
        ];
        state.extend(more);
        state
    }

    #[test]
    fn a_room_is_right_or_all_that_is_wrong_is_named() {
        assert_eq!(judge(&room(vec![]), "@bot:x").unwrap(), "deploys; not encrypted, invite only");
        let encrypted = event("m.room.encryption", "", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
        assert_eq!(judge(&room(vec![encrypted]), "@bot:x").unwrap(), "deploys; encrypted, invite only");
        let mut state = room(vec![
            event("m.room.power_levels", "", json!({ "events": { "m.reaction": 50 }, "users": { "@anna:x": 100 } })),
            event("m.room.tombstone", "", json!({ "replacement_room": "!new:x" })),
        ]);
        state[2] = event("m.room.join_rules", "", json!({ "join_rule": "public" }));
        let wrong = judge(&state, "@bot:x").unwrap_err();
        for part in ["replaced by !new:x", "`public`", "may not react: it takes a power level of 50"] {
            assert!(wrong.contains(part), "{wrong}");
        }
        assert!(!wrong.contains("send messages"), "{wrong}");
        assert!(judge(&room(vec![]), "@other:x").unwrap_err().contains("invite it"));
    }

    #[test]
    fn whoever_made_a_new_room_has_all_power() {
        let levels = event("m.room.power_levels", "", json!({ "events_default": 100 }));
        let mut state = room(vec![levels]);
        assert_eq!(power(&state, "@anna:x"), Some(0));
        state[0] = event("m.room.create", "", json!({ "room_version": "12", "additional_creators": ["@bot:x"] }));
        assert_eq!((power(&state, "@anna:x"), power(&state, "@bot:x"), power(&state, "@ben:x")), (None, None, Some(0)));
    }

    #[test]
    fn whoever_has_no_cross_signing_is_named() {
        let people = BTreeSet::from(["@anna:x".to_owned(), "@ben:x".to_owned()]);
        let keys = json!({ "master_keys": { "@anna:x": {} } });
        assert!(unsigned(&keys, &people).ends_with("count: @ben:x"));
        assert_eq!(unsigned(&json!({ "master_keys": { "@anna:x": {}, "@ben:x": {} } }), &people), "everybody in the rooms has it");
        let signed = json!({
            "self_signing_keys": { "@bot:x": { "keys": { "ed25519:abc": "abc" } } },
            "device_keys": { "@bot:x": { "D": { "signatures": { "@bot:x": { "ed25519:D": "s", "ed25519:abc": "s" } } } } },
        });
        assert_eq!(own(&signed, "@bot:x", "D").unwrap(), "D, cross-signed");
        assert!(own(&json!({ "device_keys": {} }), "@bot:x", "D").is_err());
    }
}
