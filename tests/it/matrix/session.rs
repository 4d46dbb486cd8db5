//! The bot's own device and identity: made once, kept for life, and what is said where something of them is lost.

use std::fs;

use shipmate::chat::ChatError;

use super::adapter::{behind, heard};
use super::wire::Wire;
use super::*;
use crate::chat_contract::{no_trouble, reply, said, trouble};

/// The ids of the bot's devices.
pub(super) async fn devices(meeting: &Meeting) -> Vec<String> {
    let token = meeting.server.token_of(&meeting.bot.id).await;
    let told = meeting.server.call(&token, Method::GET, "/_matrix/client/v3/devices", Value::Null).await;
    told["devices"].as_array().unwrap().iter().map(|device| device["device_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_first_start_makes_a_device_that_people_trust_and_later_ones_have_the_same() {
    let mut meeting = Meeting::encrypted().await;
    drop(heard(&meeting, None).await);
    let device = devices(&meeting).await;
    assert_eq!(device.len(), 1);
    meeting.anna.looks_up(&meeting.bot.id).await;
    assert_eq!(meeting.anna.trusted_devices_of(&meeting.bot.id).await, 1);
    let key = fs::read_to_string(meeting.store.path().join("recovery-key.txt")).unwrap();
    assert!(key.trim().len() > 40, "{key}");
    meeting.restart().await;
    drop(heard(&meeting, None).await);
    assert_eq!(devices(&meeting).await, device);
}

#[tokio::test]
async fn a_lost_store_begins_anew_with_the_recovery_key_and_shows_nothing_twice() {
    let meeting = Meeting::encrypted().await;
    let first = meeting.matrix.post(&meeting.room(), &reply("only once"), "1").await.unwrap();
    let key = fs::read_to_string(meeting.store.path().join("recovery-key.txt")).unwrap();
    let new = tempfile::tempdir().unwrap();
    let without = Matrix::new(Parts { store: new.path().join("without"), ..meeting.parts() }).unwrap();
    without.post(&meeting.room(), &reply("untrusted"), "2").await.unwrap();
    trouble(&without, "SHIPMATE_MATRIX_RECOVERY_KEY").await;
    let recovery_key = Secret::new(key.trim());
    let with = Matrix::new(Parts { store: new.path().join("with"), recovery_key, ..meeting.parts() }).unwrap();
    assert_eq!(with.post(&meeting.room(), &reply("only once"), "1").await.unwrap(), first);
    no_trouble(&with).await;
    let devices = devices(&meeting).await;
    meeting.anna.looks_up(&meeting.bot.id).await;
    assert_eq!((devices.len(), meeting.anna.trusted_devices_of(&meeting.bot.id).await), (3, 2));
}

#[tokio::test]
async fn the_keys_of_an_old_device_must_be_there() {
    let meeting = Meeting::encrypted().await;
    let (token, _) = meeting.server.token_of_new_device(&meeting.bot).await;
    let login = Login::Token(Secret::new(&token).unwrap());
    let new = tempfile::tempdir().unwrap();
    let parts = |store: &str| Parts { login: login.clone(), store: new.path().join(store), ..meeting.parts() };
    let refused = async |parts: Parts, words: &str| {
        let matrix = Matrix::new(parts).unwrap();
        let posted = matrix.post(&meeting.room(), &reply("never"), "2").await;
        assert!(matches!(&posted, Err(ChatError::Unavailable(why)) if why.contains(words)), "{posted:?}");
    };
    Matrix::new(parts("one")).unwrap().post(&meeting.room(), &reply("with a token"), "1").await.unwrap();
    refused(parts("two"), "Bring the folder back, or log in anew").await;
    let checked = Matrix::new(parts("two")).unwrap().check().await.into_iter().find(|checked| checked.what == "device");
    assert!(checked.unwrap().is.unwrap_err().contains("Bring the folder back"), "a look says what the start would");
    let databases = fs::read_dir(new.path().join("one/store")).unwrap().map(|file| file.unwrap().path());
    databases.filter(|path| path.to_string_lossy().contains("crypto")).for_each(|path| fs::remove_file(path).unwrap());
    refused(parts("one"), "the keys of the device are gone").await;
    let other = meeting.server.user("other").await;
    refused(Parts { user: other.id.clone(), ..parts("three") }, "SHIPMATE_MATRIX_TOKEN is").await;
    meeting.sees(&["with a token"]).await;
    assert_eq!(meeting.shown().len(), 1);
}

#[tokio::test]
async fn a_session_that_is_lost_alone_is_said_and_a_token_makes_it_again() {
    let meeting = Meeting::encrypted().await;
    let first = meeting.matrix.post(&meeting.room(), &reply("only once"), "1").await.unwrap();
    let file = meeting.store.path().join("session.json");
    let session: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    fs::remove_file(&file).unwrap();
    let again = Matrix::new(meeting.parts()).unwrap();
    let posted = again.post(&meeting.room(), &reply("only once"), "1").await;
    assert!(matches!(&posted, Err(ChatError::Unavailable(why)) if why.contains("session.json")), "{posted:?}");
    let checked = again.check().await.into_iter().find(|checked| checked.what == "device").unwrap();
    assert!(checked.is.unwrap_err().contains("session.json"));
    let login = Login::Token(Secret::new(session["token"].as_str().unwrap()).unwrap());
    let with_token = Matrix::new(Parts { login, ..meeting.parts() }).unwrap();
    assert_eq!(with_token.post(&meeting.room(), &reply("only once"), "1").await.unwrap(), first);
    assert!(file.exists());
    assert_eq!(devices(&meeting).await, [session["device"].as_str().unwrap()]);
}

#[tokio::test]
async fn a_recovery_key_that_was_lost_at_its_birth_is_made_anew() {
    let mut meeting = Meeting::encrypted().await;
    drop(heard(&meeting, None).await);
    let place = |name: &str| meeting.store.path().join(name);
    let (file, begun) = (place("recovery-key.txt"), place("recovery-key.begun"));
    assert!(!begun.exists());
    let first = fs::read_to_string(&file).unwrap();
    // The homeserver had the lock, and the bot died before it wrote the key.
    fs::remove_file(&file).unwrap();
    fs::write(&begun, "").unwrap();
    meeting.restart().await;
    drop(heard(&meeting, None).await);
    let key = fs::read_to_string(&file).unwrap();
    assert!(key != first && !begun.exists());
    let new = tempfile::tempdir().unwrap();
    let recovery_key = Secret::new(key.trim());
    let with = Matrix::new(Parts { store: new.path().to_owned(), recovery_key, ..meeting.parts() }).unwrap();
    with.post(&meeting.room(), &reply("the same"), "1").await.unwrap();
    no_trouble(&with).await;
}

#[tokio::test]
async fn an_identity_that_could_not_be_made_at_the_start_is_made_later() {
    let mut meeting = Meeting::encrypted().await;
    let wire = Wire::to(meeting.server).await;
    meeting.matrix = Arc::new(behind(&wire, meeting.parts()));
    wire.says_instead("/keys/device_signing/upload", 503, "M_UNKNOWN");
    let events = heard(&meeting, None).await;
    trouble(&*meeting.matrix, "can't be cross-signed").await;
    wire.is_well();
    no_trouble(&*meeting.matrix).await;
    meeting.anna.looks_up(&meeting.bot.id).await;
    assert_eq!(meeting.anna.trusted_devices_of(&meeting.bot.id).await, 1);
    drop(events);
}

#[tokio::test]
async fn a_session_that_somebody_ended_is_said_with_the_way_out() {
    let meeting = Meeting::plain().await;
    let events = heard(&meeting, None).await;
    meeting.server.ends_sessions_of(&meeting.bot).await;
    trouble(&*meeting.matrix, "move the folder `matrix` of its store away").await;
    drop(events);
}

#[tokio::test]
async fn a_check_says_what_is_missing_and_takes_nothing_from_the_bot_that_runs() {
    let meeting = Meeting::encrypted().await;
    let checks = async || {
        let checked = meeting.matrix.check().await.into_iter();
        let told = checked.map(|checked| format!("{}: {}", checked.what, checked.is.unwrap_or_else(|why| format!("NO, {why}"))));
        told.collect::<Vec<_>>()
    };
    let room = meeting.room();
    let (bot, url) = (&meeting.bot.id, &meeting.server.url);
    let good = [
        format!("login: the bot is {bot} at {url}"),
        "device: the first start makes it, with its keys".to_owned(),
        format!("{room}: it has no name; encrypted, invite only"),
        "cross-signing: everybody in the rooms has it".to_owned(),
    ];
    assert_eq!(checks().await, good);
    assert_eq!(devices(&meeting).await, [""; 0], "the look leaves no device behind");

    let mut events = heard(&meeting, None).await;
    let dora = meeting.server.user("dora").await;
    meeting.anna.does(&meeting.room, "invite", Some(&dora.id)).await;
    joins(meeting.server, &dora, &meeting.room).await;
    meeting.anna.sets(&meeting.room, "m.room.join_rules", json!({"join_rule": "public"})).await;
    let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.power_levels", part(&meeting.room));
    let mut levels = meeting.anna.asks(&path).await;
    levels["events"]["m.reaction"] = json!(50);
    meeting.anna.sets(&meeting.room, "m.room.power_levels", levels).await;
    let said_now = checks().await.join("\n");
    for part in [
        "device: ",
        ", cross-signed",
        "NO, whoever is not invited may come in (`public`)",
        "the bot may not react: it takes a power level of 50",
        &format!("their typed approvals don't count: {}", dora.id),
    ] {
        assert!(said_now.contains(part), "{part} isn't in\n{said_now}");
    }
    meeting.say("anna", "it still reads").await;
    assert_eq!(said(&mut events).await, "it still reads");
}
