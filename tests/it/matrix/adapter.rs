//! What only Matrix has: devices and keys, what people's apps make of a message, and homeservers that lose nothing but the bot.

use std::time::Duration;

use jiff::SignedDuration;
use shipmate::chat::{Block, ChatError, ChatEvent, Reply};
use tokio::sync::mpsc;

use super::missed::{Marks, goes_on, texts_until};
use super::server::{Second, new_name};
use super::session::devices;
use super::wire::Wire;
use super::*;
use crate::chat_contract::{self, message, no_trouble, reply, said, soon, trouble};

/// What the bot hears, after it was told that the room is there.
pub async fn heard(meeting: &Meeting, since: Option<Timestamp>) -> mpsc::Receiver<ChatEvent> {
    chat_contract::heard(meeting.chat(), &meeting.room(), since).await
}

/// The bot listens, and isn't in the room or can't be.
fn listens(meeting: &Meeting) -> mpsc::Receiver<ChatEvent> {
    let (to, events) = mpsc::channel(1000);
    let chat = meeting.chat();
    tokio::spawn(async move { chat.listen(to, None).await });
    chat_contract::without_marks(events)
}

#[tokio::test]
async fn only_what_people_say_to_it_counts_and_a_mention_stands_for_the_prefix() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    let bot = meeting.bot.id.as_str();
    let short = bot[1..].split(':').next().unwrap();
    let first = meeting.send("anna", text("hello")).await;
    assert_eq!(said(&mut events).await, "hello");
    let pill = json!({
        "msgtype": "m.text", "body": format!("{short}: deploy pill"), "format": "org.matrix.custom.html",
        "formatted_body": format!("<a href=\"https://matrix.to/#/{bot}\">{short}</a>: deploy pill"), "m.mentions": {"user_ids": [bot]}
    });
    let answer = json!({
        "msgtype": "m.text", "body": "> <@bert:rig.test> !deploy quoted\n> again\n\n!deploy answer", "format": "org.matrix.custom.html",
        "formatted_body": "<mx-reply><blockquote>!deploy quoted</blockquote></mx-reply>!deploy answer",
        "m.relates_to": {"m.in_reply_to": {"event_id": first}}
    });
    let is_nothing = [
        json!({"msgtype": "m.notice", "body": "!deploy notice"}),
        json!({"msgtype": "m.emote", "body": "!deploy emote"}),
        edit(&first, "!deploy edit"),
        text("> !deploy quote"),
        text("```\n!deploy code\n```"),
    ];
    for content in is_nothing {
        meeting.send("anna", content).await;
    }
    let post = meeting.matrix.post(&meeting.room(), &reply("!deploy own"), "1").await.unwrap();
    meeting.matrix.react(&post, "✅").await.unwrap();
    for content in [pill, text(&format!("{bot} deploy id")), text(&format!("@{short} deploy plain")), answer] {
        meeting.send("bert", content).await;
    }
    for expected in ["!deploy pill", "!deploy id", "!deploy plain", "!deploy answer"] {
        assert_eq!(said(&mut events).await, expected);
    }
    assert_eq!(meeting.matrix.reactions(&post).await.unwrap(), []);
}

#[tokio::test]
async fn a_bridges_puppet_is_nobody() {
    let meeting = Meeting::plain().await;
    let puppet = meeting.server.user("telegram_123").await;
    let token = meeting.server.token_of(&puppet.id).await;
    meeting.anna.does(&meeting.room, "invite", Some(&puppet.id)).await;
    joins(meeting.server, &puppet, &meeting.room).await;
    let mut events = heard(&meeting, None).await;
    let post = meeting.matrix.post(&meeting.room(), &reply("approve?"), "1").await.unwrap();
    for (kind, content) in [("m.room.message", text("!deploy blog")), ("m.reaction", reaction(&post.id, "✅"))] {
        let path = format!("/_matrix/client/v3/rooms/{}/send/{kind}/{}", part(&meeting.room), new_name("sent"));
        meeting.server.call(&token, Method::PUT, &path, content).await;
    }
    meeting.say("anna", "done").await;
    assert_eq!(said(&mut events).await, "done");
    assert_eq!(meeting.matrix.reactions(&post).await.unwrap(), []);
}

#[tokio::test]
async fn a_live_message_changes_in_place_is_escaped_and_calls_only_those_it_means_to() {
    let meeting = Meeting::encrypted().await;
    let words = format!("<b>{}</b> & `<i>`", meeting.anna.id);
    let calls = |people: &[&str]| {
        let line = Block::Line(words.clone());
        Reply { body: vec![line, Block::Calls(people.iter().map(|name| name.parse().unwrap()).collect())], ..reply("<script>") }
    };
    let said = meeting.send("anna", text("!deploy")).await;
    let chat = meeting.chat();
    let to = meeting.message(&said);
    let live = chat.answer(&to, shipmate::chat::Audience::Author, &calls(&[]), "1").await.unwrap();
    for n in 0..3 {
        chat.edit(&live, &Reply { title: format!("state {n}"), ..calls(&[]) }, n == 2).await.unwrap();
    }
    chat.post(&meeting.room(), &calls(&["bert"]), "2").await.unwrap();
    let live = meeting.sees(&["state 2"]).await;
    // No other one is called that by now.
    let call = meeting.sees(&["<script>", &words.replace('`', "")[..5]]).await;
    assert_eq!((meeting.shown().len(), live.edits.len()), (2, 3));
    assert_eq!(live.first["m.relates_to"]["m.in_reply_to"]["event_id"], *said);
    assert!(live.encrypted && call.encrypted);
    assert!(live.all().iter().all(|content| content["msgtype"] == "m.notice" && content["m.mentions"] == json!({})), "{live:#?}");
    assert_eq!(call.first["m.mentions"], json!({"user_ids": [meeting.bert.id]}));
    for shown in [&call, &live] {
        let html = shown.html();
        assert!(html.contains(&format!("&lt;b&gt;{}&lt;/b&gt; &amp; <code>&lt;i&gt;</code>", meeting.anna.id)), "{html}");
    }
    assert!(call.html().contains("&lt;script&gt;"), "{}", call.html());
}

#[tokio::test]
async fn a_key_is_shown_once_also_by_a_later_life() {
    let mut meeting = Meeting::encrypted().await;
    let first = meeting.matrix.post(&meeting.room(), &reply("only once"), "1").await.unwrap();
    meeting.restart().await;
    assert_eq!(meeting.matrix.post(&meeting.room(), &reply("only once"), "1").await.unwrap(), first);
    meeting.matrix.edit(&first, &reply("changed later"), true).await.unwrap();
    meeting.matrix.post(&meeting.room(), &reply("another"), "2").await.unwrap();
    meeting.sees(&["another"]).await;
    assert_eq!(meeting.shown().len(), 2);
    meeting.sees(&["changed later"]).await;
}

async fn keeps_in_a_thread(meeting: Meeting) {
    let chat = meeting.chat();
    let post = chat.post(&meeting.room(), &reply("it failed"), "1").await.unwrap();
    for _ in 0..2 {
        chat.keep_beside(&post, "#1 deploy", "deploy-1.txt", "all of it\n".repeat(1000)).await.unwrap();
    }
    chat.post(&meeting.room(), &reply("later"), "2").await.unwrap();
    meeting.sees(&["later"]).await;
    let beside = meeting.beside(&post.id);
    assert_eq!(beside.len(), 1, "{beside:#?}");
    let file = &beside[0].now;
    assert_eq!((&file["msgtype"], &file["filename"], &file["m.mentions"]), (&json!("m.file"), &json!("deploy-1.txt"), &json!({})));
    assert_eq!((beside[0].encrypted, file["url"].is_null()), (meeting.encrypted, meeting.encrypted));
    assert_eq!(meeting.anna.opens(file).await, "all of it\n".repeat(1000));
}

#[tokio::test]
async fn details_are_a_file_in_the_thread_of_a_message() {
    keeps_in_a_thread(Meeting::plain().await).await;
}

#[tokio::test]
async fn in_an_encrypted_room_the_file_is_encrypted_too() {
    keeps_in_a_thread(Meeting::encrypted().await).await;
}

#[tokio::test]
async fn what_is_too_long_for_a_message_is_in_a_file() {
    let meeting = Meeting::encrypted().await;
    let post = meeting.matrix.post(&meeting.room(), &too_long(), "1").await.unwrap();
    let shown = meeting.sees(&["long"]).await;
    assert!(shown.text().ends_with("… the rest is in the file"), "{}", shown.text());
    let file = meeting.anna.until("the file", |_| meeting.beside(&post.id).pop()).await;
    assert!(meeting.anna.opens(&file.now).await.contains("line 8999"));
}

/// A reply that a message can't hold.
fn too_long() -> Reply {
    Reply { body: (0..9000).map(|n| Block::Line(format!("line {n}"))).collect(), ..reply("long") }
}

/// The bot behind a wire.
pub fn behind(wire: &Wire, parts: Parts) -> Matrix {
    Matrix::new(Parts { homeserver: wire.url.clone(), ..parts }).unwrap()
}

#[tokio::test]
async fn a_file_that_could_not_be_uploaded_is_there_after_another_try_in_this_life_or_a_later_one() {
    let meeting = Meeting::encrypted().await;
    let wire = Wire::to(meeting.server).await;
    for (key, restarts) in [("1", false), ("2", true)] {
        let mut bot = behind(&wire, meeting.parts());
        bot.post(&meeting.room(), &reply("before"), &format!("{key}-before")).await.unwrap();
        if restarts {
            bot = behind(&wire, meeting.parts());
        }
        wire.says_instead("/upload", 503, "M_UNKNOWN");
        let tried = bot.post(&meeting.room(), &too_long(), key).await;
        assert!(matches!(tried, Err(ChatError::Unavailable(_))), "{tried:?}");
        wire.is_well();
        if restarts {
            bot = behind(&wire, meeting.parts());
        }
        let post = bot.post(&meeting.room(), &too_long(), key).await.unwrap();
        assert_eq!(bot.post(&meeting.room(), &too_long(), key).await.unwrap(), post);
        bot.post(&meeting.room(), &reply("after"), &format!("{key}-after")).await.unwrap();
        let whole = async |person: &Person| {
            person
                .until("what follows", |_| {
                    meeting.texts().iter().filter(|text| text.contains("after")).nth(restarts.into()).cloned()
                })
                .await;
            let files = meeting.beside(&post.id);
            assert_eq!(files.len(), 1, "{files:#?}");
            person.opens(&files[0].now).await
        };
        assert!(whole(&meeting.anna).await.contains("line 8999"));
    }
    let texts = meeting.texts();
    assert_eq!(texts.iter().filter(|text| text.contains("long")).count(), 2, "{texts:#?}");
}

#[tokio::test]
async fn details_are_kept_once_also_by_a_device_that_the_homeserver_never_saw_keep_them() {
    let meeting = Meeting::encrypted().await;
    let post = meeting.matrix.post(&meeting.room(), &reply("it failed"), "1").await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let another = Matrix::new(Parts { store: other.path().to_owned(), ..meeting.parts() }).unwrap();
    for bot in [&*meeting.matrix, &another] {
        bot.keep_beside(&post, "#1 deploy", "deploy-1.txt", "all of it".to_owned()).await.unwrap();
    }
    another.post(&meeting.room(), &reply("later"), "2").await.unwrap();
    meeting.sees(&["later"]).await;
    assert_eq!(meeting.beside(&post.id).len(), 1);
}

#[tokio::test]
async fn what_the_homeserver_never_takes_is_refused_and_a_file_that_it_doesnt_take_is_left_out() {
    let meeting = Meeting::plain().await;
    let wire = Wire::to(meeting.server).await;
    let bot = behind(&wire, meeting.parts());
    let first = bot.post(&meeting.room(), &reply("first"), "1").await.unwrap();
    for (status, code) in [(413, "M_TOO_LARGE"), (400, "M_BAD_JSON"), (400, "M_INVALID_PARAM"), (413, "M_UNKNOWN")] {
        wire.says_instead("/send/m.room.message", status, code);
        let posted = bot.post(&meeting.room(), &reply("never"), "2").await;
        assert!(matches!(posted, Err(ChatError::Refused(_))), "{code}: {posted:?}");
        let edited = bot.edit(&first, &reply("never"), true).await;
        assert!(matches!(edited, Err(ChatError::Refused(_))), "{code}: {edited:?}");
        wire.is_well();
    }
    wire.says_instead("/send/m.room.message", 403, "M_FORBIDDEN");
    let posted = bot.post(&meeting.room(), &reply("later"), "3").await;
    assert!(matches!(posted, Err(ChatError::Unavailable(_))), "somebody can mend that: {posted:?}");
    wire.is_well();
    wire.says_instead("/upload", 413, "M_TOO_LARGE");
    bot.post(&meeting.room(), &too_long(), "4").await.unwrap();
    wire.is_well();
    wire.says_instead("/upload", 503, "M_UNKNOWN");
    bot.edit(&first, &Reply { title: "its last state".to_owned(), ..too_long() }, true).await.unwrap();
    wire.is_well();
    meeting.sees(&["its last state"]).await;
    assert_eq!(meeting.shown().len(), 2);
}

#[tokio::test]
async fn the_same_emoji_with_and_without_a_variation_selector_is_one() {
    let meeting = Meeting::plain().await;
    let mut events = heard(&meeting, None).await;
    let post = meeting.matrix.post(&meeting.room(), &reply("approve?"), "1").await.unwrap();
    let anna = meeting.account("anna");
    let given = [(anna.clone(), "✅".to_owned())];
    for emoji in ["✅", "✅\u{fe0f}"] {
        meeting.react("anna", &post, emoji).await;
        assert!(matches!(soon(events.recv()).await, Some(ChatEvent::Reacted { emoji, .. }) if emoji == "✅"));
        assert_eq!(meeting.matrix.reactions(&post).await.unwrap(), given);
    }
    meeting.unreact("anna", &post, "✅").await;
    meeting.say("anna", "still").await;
    assert_eq!(said(&mut events).await, "still", "the other one is there");
    assert_eq!(meeting.matrix.reactions(&post).await.unwrap(), given);
    meeting.unreact("anna", &post, "✅\u{fe0f}").await;
    let back = ChatEvent::Unreacted { to: post.clone(), author: anna, emoji: "✅".to_owned() };
    assert_eq!(soon(events.recv()).await, Some(back));
    assert_eq!(meeting.matrix.reactions(&post).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_written_while_nobody_listened_is_read_after_a_restart_once_and_in_order() {
    let mut meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    meeting.say("anna", "before").await;
    let since = message(&mut events).await.received + SignedDuration::from_millis(1);
    drop(events);
    meeting.restart().await;
    // Its people know the bot's device from before, and send it their keys all the same.
    for (who, words) in [("anna", "!deploy one"), ("bert", "!deploy two"), ("anna", "!deploy three")] {
        meeting.say(who, words).await;
    }
    let mut events = heard(&meeting, Some(since)).await;
    meeting.say("bert", "live").await;
    for expected in ["!deploy one", "!deploy two", "!deploy three", "live"] {
        let heard = message(&mut events).await;
        assert_eq!((heard.text.as_str(), heard.doubt), (expected, None));
    }
}

#[tokio::test]
async fn an_edit_of_what_was_missed_says_nothing() {
    let mut meeting = Meeting::encrypted().await;
    drop(heard(&meeting, None).await);
    meeting.restart().await;
    let since = Timestamp::now() - SignedDuration::from_secs(60);
    meeting.say("anna", "!status").await;
    meeting.edit("anna", "!deploy antisocial").await;
    meeting.say("anna", "!last").await;
    let mut events = heard(&meeting, Some(since)).await;
    assert_eq!(said(&mut events).await, "!last");
}

#[tokio::test]
async fn a_session_that_has_run_out_is_renewed_with_the_password_and_the_device_stays() {
    let mut meeting = Meeting::encrypted().await;
    let wire = Wire::to(meeting.server).await;
    let login = Login::Password(Secret::new(&meeting.bot.password).unwrap());
    let parts = |meeting: &Meeting, login: Login| Parts { homeserver: wire.url.clone(), login, ..meeting.parts() };
    meeting.matrix = Arc::new(Matrix::new(parts(&meeting, login.clone())).unwrap());
    let mut events = goes_on(&meeting, &Marks::new(), None);
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: meeting.room() }));
    let device = devices(&meeting).await;
    // While it doesn't listen, and while it does.
    for (words, again) in [("!deploy one", true), ("!deploy two", false)] {
        wire.ends_sessions();
        if again {
            drop(events);
            meeting.matrix = Arc::new(Matrix::new(parts(&meeting, login.clone())).unwrap());
            events = goes_on(&meeting, &Marks::new(), Some(Timestamp::now() - SignedDuration::from_secs(1)));
        }
        meeting.say("anna", words).await;
        assert_eq!(texts_until(&mut events, words).await.0, [words]);
        no_trouble(&*meeting.matrix).await;
        assert_eq!(devices(&meeting).await, device);
    }
    drop(events);
    // Without a password only people can mend it.
    let (token, _) = meeting.server.token_of_new_device(&meeting.bot).await;
    let store = meeting.store.path().join("other");
    let login = Login::Token(Secret::new(&token).unwrap());
    meeting.matrix = Arc::new(Matrix::new(Parts { store, ..parts(&meeting, login) }).unwrap());
    let events = heard(&meeting, None).await;
    wire.ends_sessions();
    trouble(&*meeting.matrix, "give it its password, or a new token of the same device").await;
    drop(events);
}

#[tokio::test]
async fn a_homeserver_that_was_away_is_heard_again_and_nothing_comes_twice() {
    let second = Second::new().await;
    let meeting = Meeting::of_strangers(second.server).await;
    let mut events = heard(&meeting, None).await;
    meeting.say("anna", "one").await;
    assert_eq!(said(&mut events).await, "one");
    second.server.stops().await;
    trouble(&*meeting.matrix, "the homeserver can't be reached").await;
    let posted = meeting.matrix.post(&meeting.room(), &reply("shown"), "1").await;
    assert!(matches!(posted, Err(ChatError::Unavailable(_))), "{posted:?}");
    second.server.starts().await;
    meeting.matrix.post(&meeting.room(), &reply("shown"), "1").await.unwrap();
    meeting.say("anna", "two").await;
    let heard = async {
        loop {
            match soon(events.recv()).await {
                Some(ChatEvent::Connected { .. }) => {}
                Some(ChatEvent::Message(message)) => return message.text,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(heard.await, "two");
    no_trouble(&*meeting.matrix).await;
    meeting.sees(&["shown"]).await;
    assert_eq!(meeting.shown().len(), 1);
}

#[tokio::test]
async fn a_homeserver_that_has_enough_for_now_is_waited_for() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    meeting.server.limits(&meeting.bot.id, 1, 2).await;
    let begin = std::time::Instant::now();
    let live = meeting.matrix.post(&meeting.room(), &reply("begin"), "1").await.unwrap();
    for n in 0..4 {
        meeting.matrix.edit(&live, &reply(&format!("state {n}")), n == 3).await.unwrap();
    }
    meeting.matrix.post(&meeting.room(), &reply("end"), "2").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(3), "six messages, two at once and one a second: {:?}", begin.elapsed());
    meeting.say("anna", "meanwhile").await;
    assert_eq!(said(&mut events).await, "meanwhile");
    meeting.sees(&["end"]).await;
    assert_eq!((meeting.shown().len(), meeting.sees(&["state 3"]).await.edits.len()), (2, 4));
}

#[tokio::test]
async fn a_bot_that_was_kicked_says_so_and_is_there_again_when_it_is_invited() {
    let meeting = Meeting::encrypted().await;
    let mut events = heard(&meeting, None).await;
    meeting.anna.does(&meeting.room, "kick", Some(&meeting.bot.id)).await;
    trouble(&*meeting.matrix, &format!("{}: the bot isn't in the room any more", meeting.room())).await;
    let posted = meeting.matrix.post(&meeting.room(), &reply("deaf"), "1").await;
    assert!(matches!(&posted, Err(ChatError::Unavailable(why)) if why.contains("invite")), "{posted:?}");
    let since_then = meeting.anna.heard(&meeting.room).len();
    meeting.anna.does(&meeting.room, "invite", Some(&meeting.bot.id)).await;
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: meeting.room() }));
    let joined = |person: &Person| {
        let later = person.heard(&meeting.room).split_off(since_then);
        later.into_iter().find(|heard| heard.kind == "m.room.member" && heard.content["membership"] == "join")
    };
    meeting.anna.until("the bot join", joined).await;
    no_trouble(&*meeting.matrix).await;
    meeting.say("anna", "welcome back").await;
    assert_eq!(said(&mut events).await, "welcome back");
    meeting.matrix.post(&meeting.room(), &reply("deaf"), "1").await.unwrap();
    meeting.sees(&["deaf"]).await;
}

#[tokio::test]
async fn a_bot_that_is_invited_joins_the_rooms_of_the_fleet_file_and_no_others() {
    let mut meeting = Meeting::plain().await;
    let invited = meeting.anna.makes_a_room("11", false, &[&meeting.bot.id]).await;
    let other = meeting.anna.makes_a_room("11", false, &[&meeting.bot.id]).await;
    for room in [&invited, &other] {
        meeting.anna.is_in(room).await;
    }
    meeting.matrix = Arc::new(Matrix::new(Parts { rooms: vec![room_id(&invited)], ..meeting.parts() }).unwrap());
    meeting.room = invited;
    let mut events = heard(&meeting, None).await;
    meeting.say("anna", "hello").await;
    assert_eq!(said(&mut events).await, "hello");
    assert_eq!(membership(&other, &meeting.anna, &meeting.bot.id).await, "invite");
    // It is in the first room of this meeting, and that is none of its business.
    let token = meeting.server.token_of(&meeting.bot.id).await;
    let joined = meeting.server.call(&token, Method::GET, "/_matrix/client/v3/joined_rooms", Value::Null).await;
    assert_eq!(joined["joined_rooms"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_room_that_was_replaced_is_said_and_not_followed() {
    let meeting = Meeting::plain().await;
    let mut events = heard(&meeting, None).await;
    let next = meeting.anna.makes_a_room("12", false, &[&meeting.bot.id]).await;
    let tombstone = json!({"body": "we moved", "replacement_room": next});
    meeting.anna.sets(&meeting.room, "m.room.tombstone", tombstone).await;
    trouble(&*meeting.matrix, &format!("replaced by {next}")).await;
    meeting.say("anna", "still here").await;
    assert_eq!(said(&mut events).await, "still here");
    assert_eq!(membership(&next, &meeting.anna, &meeting.bot.id).await, "invite");
}

#[tokio::test]
async fn a_room_without_the_bot_and_a_wrong_password_are_said() {
    let meeting = Meeting::plain().await;
    let elsewhere = meeting.anna.makes_a_room("11", false, &[]).await;
    let lost = Meeting {
        matrix: Arc::new(Matrix::new(Parts { rooms: vec![room_id(&elsewhere)], ..meeting.parts() }).unwrap()),
        ..meeting
    };
    let events = listens(&lost);
    trouble(&*lost.matrix, &format!("invite {} to it", lost.bot.id)).await;
    drop(events);
    let (store, login) = (lost.store.path().join("other"), Login::Password(Secret::new("wrong").unwrap()));
    let lost = Meeting { matrix: Arc::new(Matrix::new(Parts { store, login, ..lost.parts() }).unwrap()), ..lost };
    let events = listens(&lost);
    trouble(&*lost.matrix, "the bot can't log in").await;
    drop(events);
}

#[tokio::test]
async fn where_builds_may_be_announced_another_bots_notice_does_and_commands_nothing() {
    let meeting = Meeting::encrypted().await;
    let announcing = [meeting.room()].into();
    let meeting = Meeting { matrix: Arc::new(Matrix::new(Parts { announcing, ..meeting.parts() }).unwrap()), ..meeting };
    let mut events = heard(&meeting, None).await;
    let notice = json!({"msgtype": "m.notice", "body": "!deploy antisocial build-41 passed"});
    let sent = meeting.send("bert", notice.clone()).await;
    let announced = ChatEvent::Announced { message: meeting.message(&sent), text: notice["body"].as_str().unwrap().to_owned() };
    assert_eq!(soon(events.recv()).await, Some(announced));
    meeting.say("anna", "antisocial build-42 passed").await;
    assert_eq!(said(&mut events).await, "antisocial build-42 passed");
}

#[tokio::test]
async fn power_in_the_room_is_a_role_at_this_moment() {
    let meeting = Meeting::plain().await;
    let mut events = heard(&meeting, None).await;
    let powers = async |who: &str| meeting.matrix.roles(&meeting.account(who)).await.unwrap();
    assert!(powers("anna").await.contains("matrix:power:100"), "who made the room");
    assert_eq!(powers("bert").await, [].into());
    let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.power_levels", part(&meeting.room));
    let mut levels = meeting.anna.asks(&path).await;
    levels["users"][&meeting.bert.id] = json!(50);
    meeting.anna.sets(&meeting.room, "m.room.power_levels", levels).await;
    meeting.say("anna", "now").await;
    assert_eq!(said(&mut events).await, "now");
    let of_bert = powers("bert").await;
    assert!(of_bert.contains("matrix:power:50") && !of_bert.contains("matrix:power:51"), "{of_bert:?}");
    assert_eq!(meeting.matrix.roles(&Account("discord:100".to_owned())).await.unwrap(), [].into());
}
