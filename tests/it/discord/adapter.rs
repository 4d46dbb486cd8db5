//! What only Discord has: sessions that break, permissions that are refused, and marks that survive both.

use jiff::SignedDuration;
use serde_json::json;
use shipmate::chat::discord::{Discord, Parts, permissions};
use shipmate::chat::{Audience, Block, Chat, ChatError, ChatEvent, Reply, Tone};
use shipmate::secret::Secret;
use tokio::sync::mpsc;

use super::*;
use crate::chat_contract::{self, reply, said, soon, trouble, until_within};

/// What the bot hears, after it was told that the room is there.
async fn heard(discord: &Arc<Discord>, since: Option<Timestamp>) -> mpsc::Receiver<ChatEvent> {
    chat_contract::heard(discord.clone(), &room(), since).await
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_and_nothing_is_lost_or_comes_twice() {
    let server = Server::new().await;
    let mut events = heard(&server.discord, None).await;
    let fake = &server.fake;
    fake.say("anna", "one");
    assert_eq!(said(&mut events).await, "one");
    for (n, breaks) in [Fake::cut as fn(&Fake), Fake::ask_to_reconnect, |fake: &Fake| fake.close(4000)].into_iter().enumerate() {
        breaks(fake);
        fake.say("anna", &format!("while it is broken {n}"));
        fake.until("a session that was taken up", |fake| (fake.connections() == (1, n + 1)).then_some(())).await;
        fake.say("anna", &format!("after it {n}"));
        let mut texts = Vec::new();
        while texts.len() < 2 {
            match soon(events.recv()).await {
                Some(ChatEvent::Message(message)) => texts.push(message.text),
                Some(ChatEvent::Connected { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(texts, [format!("while it is broken {n}"), format!("after it {n}")]);
    }
}

const MISSED: usize = 5000;

#[tokio::test]
async fn what_was_written_while_no_session_lived_is_fetched_once_and_in_order() {
    let server = Server::new().await;
    let mut events = heard(&server.discord, None).await;
    let fake = &server.fake;
    fake.say("anna", "before");
    assert_eq!(said(&mut events).await, "before");
    fake.forget_sessions();
    // More than it remembers to have passed on.
    for n in 0..MISSED {
        fake.say("anna", &format!("missed {n}"));
    }
    // The first try to fetch them fails.
    fake.fail_next("GET /channels/901/messages", 500, 0);
    fake.until("a new session", |fake| (fake.connections().0 == 2).then_some(())).await;
    trouble(&*server.discord, "can't be fetched").await;
    // It waits for what was missed before it, and counts as it was said.
    fake.say("anna", "live again");
    fake.rewrite(fake.newest_of("anna"), "changed");
    let mut texts = Vec::new();
    let mut connected = 0;
    while texts.len() <= MISSED {
        match tokio::time::timeout(Duration::from_secs(40), events.recv()).await.unwrap() {
            Some(ChatEvent::Message(message)) => texts.push(message.text),
            Some(ChatEvent::Connected { .. }) => connected += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(connected, 2);
    let all: Vec<String> = (0..MISSED).map(|n| format!("missed {n}")).chain(["live again".to_owned()]).collect();
    assert_eq!(texts, all);
    assert_eq!(server.discord.trouble(), None);
}

#[tokio::test]
async fn an_old_message_is_changed_seldom_and_its_last_state_is_shown() {
    fn in_an_hour() -> Timestamp {
        Timestamp::now() + jiff::SignedDuration::from_hours(1)
    }
    let server = Server::new().await;
    let discord = Discord::new(Parts { now: in_an_hour, ..parts(&server.fake) }).unwrap();
    let post = discord.post(&room(), &reply("one"), "1").await.unwrap();
    discord.edit(&post, &reply("two"), false).await.unwrap();
    assert_eq!(discord.edit(&post, &reply("three"), false).await, Err(ChatError::TooOld(post.clone())));
    discord.edit(&post, &reply("four"), true).await.unwrap();
    assert!(server.fake.texts()[0].contains("four"));
}

#[tokio::test]
async fn a_prefix_that_is_a_name_stands_apart() {
    let server = Server::new().await;
    let named = Discord::new(Parts { prefix: "shipmate ".to_owned(), ..parts(&server.fake) }).unwrap();
    let mut events = heard(&Arc::new(named), None).await;
    server.fake.say("anna", "<@42> deploy blog");
    assert_eq!(said(&mut events).await, "shipmate deploy blog");
}

#[tokio::test]
async fn a_channel_that_is_gone_takes_no_roles_away() {
    let server = Server::new().await;
    server.fake.give_role("anna", 7);
    let rooms = vec![RoomId("discord:999".to_owned()), room()];
    let discord = Discord::new(Parts { rooms, ..parts(&server.fake) }).unwrap();
    assert_eq!(discord.roles(&server.account("anna")).await.unwrap(), ["discord:7".to_owned()].into());
}

#[tokio::test]
async fn what_is_told_late_and_in_another_order_is_passed_on_once() {
    let server = Server::new().await;
    let mut events = heard(&server.discord, None).await;
    let fake = &server.fake;
    fake.hold();
    for n in 0..5 {
        fake.say("anna", &format!("held {n}"));
    }
    fake.release(|held| held.reverse());
    for n in 0..5 {
        assert_eq!(said(&mut events).await, format!("held {n}"));
    }

    // What happens elsewhere in the server changes nothing about that.
    fake.hold();
    fake.say("anna", "first");
    fake.say("anna", "second");
    fake.release(|held| {
        let elsewhere = json!({"id": "5", "channel_id": "902", "guild_id": "900"});
        let (session, mut event) = held[0].clone();
        (event["t"], event["d"]) = (json!("MESSAGE_DELETE"), elsewhere);
        held.reverse();
        held.insert(1, (session, event));
    });
    assert_eq!(said(&mut events).await, "first");
    assert_eq!(said(&mut events).await, "second");

    // One with a lower number is told after one with a higher one, and is lost with the session in between.
    fake.hold();
    fake.say("anna", "lost");
    fake.say("anna", "told");
    fake.release(|held| drop(held.remove(0)));
    assert_eq!(said(&mut events).await, "told");
    fake.forget_sessions();
    fake.until("a new session", |fake| (fake.connections().0 == 2).then_some(())).await;
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
    assert_eq!(said(&mut events).await, "lost");
    fake.say("anna", "last");
    assert_eq!(said(&mut events).await, "last");
}

#[tokio::test]
async fn a_connection_that_is_dead_without_a_word_is_replaced() {
    let server = Server::new().await;
    let fake = &server.fake;
    fake.beat_every(Duration::from_millis(100));
    let mut events = heard(&server.discord, None).await;
    fake.until("signs of life", |fake| (fake.beats() > 3).then_some(())).await;
    assert_eq!(fake.connections(), (1, 0), "it lives");
    fake.is_numb(true);
    fake.hold();
    fake.say("anna", "unheard");
    fake.until("another session", |fake| (fake.connections().0 == 2).then_some(())).await;
    fake.is_numb(false);
    let told = async {
        loop {
            if let Some(ChatEvent::Message(message)) = events.recv().await {
                return message.text;
            }
        }
    };
    assert_eq!(soon(told).await, "unheard");
}

#[tokio::test]
async fn a_gateway_that_stays_away_is_told_and_what_was_said_meanwhile_is_heard() {
    let server = Server::new().await;
    let fake = &server.fake;
    let mut events = heard(&server.discord, None).await;
    fake.shuts_its_gateway(true);
    fake.forget_sessions();
    fake.say("anna", "unheard");
    // REST answers all the while.
    let told = || server.discord.trouble().is_some_and(|why| why.contains("gateway can't be reached"));
    until_within(Duration::from_secs(90), told, || format!("{:?}", server.discord.trouble())).await;
    fake.shuts_its_gateway(false);
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
    assert_eq!(said(&mut events).await, "unheard");
    assert_eq!(server.discord.trouble(), None);
}

#[tokio::test]
async fn a_service_that_ends_each_session_at_once_gets_few() {
    let server = Server::new().await;
    let fake = &server.fake;
    let _events = heard(&server.discord, None).await;
    fake.ends_sessions(true);
    fake.forget_sessions();
    let told = || server.discord.trouble().is_some_and(|why| why.contains("ends each session at once"));
    until_within(Duration::from_secs(90), told, || format!("{:?}", server.discord.trouble())).await;
    assert!((5..=7).contains(&fake.connections().0), "{:?}", fake.connections());
    fake.ends_sessions(false);
}

#[tokio::test]
async fn a_new_start_fetches_what_was_written_since_the_last() {
    let server = Server::new().await;
    let since = Timestamp::now() - jiff::SignedDuration::from_secs(60);
    server.fake.say("anna", "!deploy blog");
    let mut events = heard(&server.discord, Some(since)).await;
    assert_eq!(said(&mut events).await, "!deploy blog");
    let later = Server { discord: Arc::new(Discord::new(parts(&server.fake)).unwrap()), fake: server.fake.clone() };
    let mut events = heard(&later.discord, None).await;
    later.fake.say("anna", "now");
    assert_eq!(said(&mut events).await, "now");
}

#[tokio::test]
async fn after_a_mark_all_is_read_however_long_ago_that_was_but_what_is_older_than_a_week() {
    let server = Server::new().await;
    let fake = &server.fake;
    let (to, mut told) = mpsc::channel(1000);
    let first = server.discord.clone();
    let listening = tokio::spawn(async move { first.listen(to, None).await });
    assert_eq!(soon(told.recv()).await, Some(ChatEvent::Connected { room: room() }));
    let id = fake.say("anna", "before");
    assert_eq!(said(&mut told).await, "before");
    let mark = soon(told.recv()).await;
    assert_eq!(mark, Some(ChatEvent::UpTo { room: room(), mark: id.to_string() }));
    drop(told);
    soon(listening).await.unwrap().unwrap();
    fake.say("anna", "meanwhile");

    // The bot lived on for long and heard nothing of Discord.
    let heard_from = async |mark: String| {
        let (to, told) = mpsc::channel(1000);
        let later = Discord::new(parts(fake)).unwrap();
        let since = Some(Timestamp::now() + SignedDuration::from_hours(1));
        tokio::spawn(async move { later.listen_from(to, [(room(), mark)].into(), since).await });
        chat_contract::without_marks(told)
    };
    let mut events = heard_from(id.to_string()).await;
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
    // The one before it may have been told late; the bot knows what it heard.
    assert_eq!(said(&mut events).await, "before");
    assert_eq!(said(&mut events).await, "meanwhile");

    let days = |days: u64| Duration::from_secs(days * 86_400);
    let long_ago = (id - ((9 * 86_400_000) << 22)).to_string();
    // If nothing was written in all that time, nothing was missed.
    let mut events = heard_from(long_ago.clone()).await;
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
    assert_eq!(said(&mut events).await, "before");
    fake.said_before("anna", "long ago", days(8));
    let mut events = heard_from(long_ago).await;
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
    match soon(events.recv()).await {
        Some(ChatEvent::NotRead { room: of, before }) => {
            let ago = Timestamp::now().duration_since(before).as_secs();
            assert!(of == room() && (days(7).as_secs()..days(7).as_secs() + 60).contains(&ago.unsigned_abs()), "{ago}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(said(&mut events).await, "before");
}

#[tokio::test]
async fn only_people_are_heard_and_a_mention_stands_for_the_prefix() {
    let server = Server::new().await;
    let mut events = heard(&server.discord, None).await;
    let fake = &server.fake;
    let post = server.discord.post(&room(), &reply("approve?"), "1").await.unwrap();
    fake.say_as_program("another bot", "!deploy blog", false);
    fake.say_as_program("ci", "!deploy blog", true);
    fake.put_reaction("another bot", number(&post), "✅");
    fake.say("anna", "> !deploy blog");
    fake.say("anna", "```\n!deploy blog\n```");
    fake.say("anna", "<@42> deploy blog");
    assert_eq!(said(&mut events).await, "!deploy blog");
    fake.say("anna", "done");
    assert_eq!(said(&mut events).await, "done");
    assert_eq!(server.discord.reactions(&post).await.unwrap(), []);
}

#[tokio::test]
async fn a_reaction_that_is_told_again_is_passed_on_once() {
    let server = Server::new().await;
    let mut events = heard(&server.discord, None).await;
    let post = server.discord.post(&room(), &reply("approve?"), "1").await.unwrap();
    server.fake.put_reaction("anna", number(&post), "✅");
    server.fake.repeat(1);
    server.fake.say("anna", "done");
    assert!(matches!(soon(events.recv()).await, Some(ChatEvent::Reacted { .. })));
    // Whether it is another one is a matter of looking.
    assert_eq!(soon(events.recv()).await, Some(ChatEvent::Connected { room: room() }));
    assert_eq!(said(&mut events).await, "done");
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_again_also_by_a_later_life() {
    let server = Server::new().await;
    let first = server.discord.post(&room(), &reply("only once"), "1").await.unwrap();
    // Discord knows a nonce for some minutes only, and people write a lot meanwhile.
    server.fake.forget_nonces();
    for n in 0..250 {
        server.fake.say("anna", &format!("lunch? {n}"));
    }
    let later = Discord::new(parts(&server.fake)).unwrap();
    assert_eq!(later.post(&room(), &reply("only once"), "1").await.unwrap(), first);
    let second = later.post(&room(), &reply("another"), "2").await.unwrap();
    assert_ne!(second, first);
    assert_eq!(server.fake.texts().len(), 2);
}

#[tokio::test]
async fn nobody_is_called_by_what_a_message_says() {
    let server = Server::new().await;
    let said = server.fake.say("anna", "!deploy");
    let to = MessageRef { room: room(), id: said.to_string() };
    let post = server.discord.answer(&to, Audience::Author, &reply("@everyone <@100>"), "1").await.unwrap();
    server.discord.edit(&post, &reply("@here"), true).await.unwrap();
    let (_, shown) = server.fake.of_the_bot().pop().unwrap();
    assert_eq!(shown.allowed_mentions["parse"], serde_json::json!([]));
    assert_eq!((shown.reference, shown.edits), (Some(said.to_string()), 1));
    assert!(shown.content.contains("@here"), "{}", shown.content);
}

#[tokio::test]
async fn what_is_too_long_for_a_message_is_in_a_file() {
    let server = Server::new().await;
    let body = (0..900).map(|n| Block::Line(format!("line {n}"))).collect();
    let long = Reply { tone: Tone::Info, title: "long".to_owned(), body };
    server.discord.post(&room(), &long, "1").await.unwrap();
    let (_, shown) = server.fake.of_the_bot().pop().unwrap();
    assert!(shown.text().ends_with("… the rest is in the file"), "{}", shown.text());
    assert!(shown.files.len() == 1 && shown.files[0].contains("line 899"));
}

#[tokio::test]
async fn what_goes_wrong_says_how_to_mend_it() {
    let server = Server::new().await;
    let discord = &server.discord;
    discord.post(&room(), &reply("one"), "1").await.unwrap();
    for (status, code, expected) in [
        (401, 0, "set SHIPMATE_DISCORD_TOKEN to the newest one"),
        (404, 10003, "it was deleted, or its number is wrong"),
        (403, 50001, "give it the permission View Channel there"),
        (403, 50013, "`shipmate check` says which permission is missing"),
        (500, 0, "Discord answers 500"),
    ] {
        server.fake.fail_next("POST /channels/901/messages", status, code);
        match discord.post(&room(), &reply("two"), "2").await {
            Err(ChatError::Unavailable(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let post = discord.post(&room(), &reply("two"), "2").await.unwrap();
    server.fake.fail_next("PATCH", 400, 30046);
    assert_eq!(discord.edit(&post, &reply("three"), false).await, Err(ChatError::TooOld(post)));
}

#[tokio::test]
async fn a_service_that_is_down_or_has_enough_for_now_is_told_and_tried_again() {
    let server = Server::new().await;
    let (fake, discord) = (&server.fake, &server.discord);
    let mut events = heard(discord, None).await;
    fake.limit(1, Duration::from_secs(3600));
    discord.post(&room(), &reply("one"), "1").await.unwrap();
    let limited = discord.post(&room(), &reply("two"), "2").await;
    assert!(matches!(&limited, Err(ChatError::Unavailable(why)) if why.contains("429")), "{limited:?}");
    assert_eq!((fake.refused(), fake.asked("POST /channels/901/messages")), (1, 2));
    fake.limit(100, Duration::from_secs(1));
    fake.is_down(true);
    let down = discord.post(&room(), &reply("two"), "2").await;
    assert!(matches!(&down, Err(ChatError::Unavailable(why)) if why.contains("502")), "{down:?}");
    fake.say("anna", "while it is down");
    fake.is_down(false);
    discord.post(&room(), &reply("two"), "2").await.unwrap();
    fake.sees(&["two"]).await;
    // A session that was taken up tells what happened before it says that it was.
    let mut both = [soon(events.recv()).await, soon(events.recv()).await];
    both.sort_by_key(|event| matches!(event, Some(ChatEvent::Message(_))));
    assert_eq!(both[0], Some(ChatEvent::Connected { room: room() }));
    assert!(matches!(&both[1], Some(ChatEvent::Message(message)) if message.text == "while it is down"), "{both:?}");
}

#[tokio::test]
async fn with_discords_own_address_the_limits_are_minded() {
    let (fake, certificate) = Fake::start_as_discord().await;
    let address = fake.address();
    let client = move || {
        let root = reqwest::Certificate::from_pem(&certificate)?;
        reqwest::Client::builder().no_proxy().resolve("discord.com", address).tls_certs_merge([root]).build()
    };
    let discord = Arc::new(Discord::new(Parts { api: None, client: Arc::new(client), ..parts(&fake) }).unwrap());
    let mut events = heard(&discord, None).await;
    fake.limit(3, Duration::from_secs(1));
    let begin = std::time::Instant::now();
    let post = discord.post(&room(), &reply("begin"), "1").await.unwrap();
    for n in 0..9 {
        discord.edit(&post, &reply(&format!("state {n}")), n == 8).await.unwrap();
    }
    let (_, last) = fake.of_the_bot().pop().unwrap();
    assert!(last.content.contains("state 8") && last.edits == 9, "{last:?}");
    assert!(begin.elapsed() >= Duration::from_secs(2), "ten changes, three a second: {:?}", begin.elapsed());
    assert_eq!(fake.refused(), 0, "it waits before it is told to");
    // Whoever is told to wait all the same, waits and comes again.
    fake.limit_at_once(1, Duration::from_secs(1));
    let (there, one, two) = (room(), reply("one"), reply("two"));
    let (one, two) = tokio::join!(discord.post(&there, &one, "2"), discord.post(&there, &two, "3"));
    assert!(one.is_ok() && two.is_ok() && fake.refused() > 0, "{one:?} {two:?} {}", fake.refused());
    // If the bot has asked for too much altogether, nothing more is asked until it may.
    fake.limit(1000, Duration::from_secs(1));
    fake.has_enough(Duration::from_millis(1500));
    let begin = std::time::Instant::now();
    let (three, after) = (reply("three"), reply("after it"));
    let told = async { discord.post(&there, &three, "4").await };
    let later = async {
        trouble(&*discord, "wants to be asked for nothing").await;
        tokio::join!(discord.edit(&post, &after, true), discord.reactions(&post), discord.react(&post, "🎉"))
    };
    let (told, (one, two, three)) = tokio::join!(told, later);
    assert!(told.is_ok() && one.is_ok() && two.is_ok() && three.is_ok(), "{told:?} {one:?} {two:?} {three:?}");
    assert!(begin.elapsed() >= Duration::from_millis(1400), "{:?}", begin.elapsed());
    assert_eq!(fake.asked_too_soon(), 1, "only the one that was told to wait");
    fake.say("anna", "still here");
    assert_eq!(said(&mut events).await, "still here");
}

#[tokio::test]
async fn details_are_kept_once_in_a_thread_or_else_in_the_channel() {
    let server = Server::new().await;
    let fake = &server.fake;
    let keep = async |discord: &Discord, message: &MessageRef| {
        discord.keep_beside(message, "#1 deploy", "deployment-1.txt", "all of it".to_owned()).await
    };
    let first = server.discord.post(&room(), &reply("done"), "1").await.unwrap();
    fake.fail_next("POST /channels/901/messages", 500, 0);
    keep(&server.discord, &first).await.unwrap_err();
    keep(&server.discord, &first).await.unwrap();
    keep(&server.discord, &first).await.unwrap();
    // Another life knows nothing of it, and Discord itself not for long.
    fake.forget_nonces();
    let later = Discord::new(parts(fake)).unwrap();
    keep(&later, &first).await.unwrap();
    let beside = fake.beside(number(&first));
    assert!(beside.len() == 1 && beside[0].files[0].contains("all of it"), "{beside:?}");

    let gone = server.discord.post(&room(), &reply("soon deleted"), "3").await.unwrap();
    fake.delete(number(&gone));
    assert_eq!(keep(&later, &gone).await, Err(ChatError::Gone(gone)));
    let second = server.discord.post(&room(), &reply("done too"), "2").await.unwrap();
    for _ in 0..2 {
        let threads = format!("POST /channels/901/messages/{}/threads", number(&second));
        fake.fail_next(&threads, 403, 50_013);
        keep(&later, &second).await.unwrap();
        fake.forget_nonces();
    }
    let files: Vec<_> = fake.of_the_bot().into_iter().filter(|(_, said)| !said.files.is_empty()).collect();
    assert!(files.len() == 1 && files[0].0 > number(&second), "{files:?}");
}

#[tokio::test]
async fn what_nobody_has_heard_of_yet_is_passed_over() {
    let server = Server::new().await;
    let mut events = heard(&server.discord, None).await;
    let fake = &server.fake;
    fake.happens("SOMETHING_NEW", json!({"of": ["the", "future"]}));
    fake.happens("MESSAGE_CREATE", json!({"not": "a message"}));
    let post = server.discord.post(&room(), &reply("approve?"), "1").await.unwrap();
    fake.happens(
        "MESSAGE_REACTION_ADD",
        json!({"user_id": "101", "channel_id": "901", "message_id": post.id, "guild_id": "900", "emoji": {"id": "5", "name": "ship"}}),
    );
    fake.say("anna", "!status");
    assert_eq!(said(&mut events).await, "!status");
    assert_eq!(fake.connections(), (1, 0));
}

#[tokio::test]
async fn a_token_or_an_intent_that_is_refused_is_told_and_the_bot_goes_on() {
    let server = Server::new().await;
    let wrong =
        Arc::new(Discord::new(Parts { token: Secret::new("an old one".to_owned()).unwrap(), ..parts(&server.fake) }).unwrap());
    let (to, _events) = mpsc::channel(10);
    let listening = wrong.clone();
    tokio::spawn(async move { listening.listen(to, None).await });
    trouble(&*wrong, "SHIPMATE_DISCORD_TOKEN").await;

    // The intent to read all messages.
    server.fake.refuse(Some((4014, 1 << 15)));
    let mut events = heard(&server.discord, None).await;
    trouble(&*server.discord, "Message Content Intent").await;
    server.fake.say("anna", "<@42> status");
    assert_eq!(said(&mut events).await, "!status");
}

#[tokio::test]
async fn a_check_says_what_is_missing() {
    let server = Server::new().await;
    let checks = async || {
        let checked = server.discord.check().await.into_iter();
        checked
            .map(|checked| format!("{}: {}", checked.what, checked.is.unwrap_or_else(|why| format!("NO, {why}"))))
            .collect::<Vec<_>>()
    };
    server.fake.permit(true, permissions());
    assert_eq!(
        checks().await,
        [
            "token: the bot is user-42",
            "intents: the bot may read messages",
            "clock: it goes with Discord's",
            "discord:901: #deploys of Example"
        ]
    );
    fn late() -> Timestamp {
        Timestamp::now() - SignedDuration::from_mins(2)
    }
    let slow = Discord::new(Parts { now: late, ..parts(&server.fake) }).unwrap().check().await;
    let clock = slow.into_iter().find(|checked| checked.what == "clock").unwrap().is.unwrap_err();
    assert!(clock.starts_with("this machine's clock is 1") && clock.contains(" s behind Discord's: switch time"), "{clock}");
    // All but Embed Links and Attach Files.
    server.fake.permit(false, permissions() & !(1 << 14) & !(1 << 15));
    let wrong = checks().await;
    assert!(
        wrong[1].contains("NO, the bot reads only messages that mention it")
            && wrong[1].contains("switch on Message Content Intent")
    );
    assert!(wrong[3].contains("the bot misses: Embed Links, Attach Files; give its role these permissions there"), "{}", wrong[3]);
    server.fake.fail_next("GET /users/@me", 401, 0);
    let refused = checks().await;
    assert!(refused.len() == 1 && refused[0].contains("set SHIPMATE_DISCORD_TOKEN to the newest one"), "{refused:?}");
    // The README's link asks for just these.
    assert!(include_str!("../../../README.md").contains(&format!("permissions={}&", permissions())), "{}", permissions());
}

#[tokio::test]
async fn roles_are_those_of_this_moment() {
    let server = Server::new().await;
    let account = server.account("anna");
    assert!(server.discord.roles(&account).await.unwrap().is_empty());
    server.fake.give_role("anna", 7);
    assert_eq!(server.discord.roles(&account).await.unwrap(), ["discord:7".to_owned()].into());
    assert!(server.discord.roles(&Account("discord:99999".to_owned())).await.unwrap().is_empty());
    assert!(server.discord.roles(&Account("terminal:anna".to_owned())).await.unwrap().is_empty());
    server.fake.fail_next("GET /guilds", 500, 0);
    assert!(matches!(server.discord.roles(&account).await, Err(ChatError::Unavailable(_))));
}

#[tokio::test]
async fn all_reactions_of_many_people_are_told() {
    let server = Server::new().await;
    let post = server.discord.post(&room(), &reply("approve?"), "1").await.unwrap();
    let people: Vec<String> = (0..250).map(|n| format!("person {n}")).collect();
    people.iter().for_each(|who| server.fake.put_reaction(who, number(&post), "✅"));
    let told = server.discord.reactions(&post).await.unwrap();
    let accounts: std::collections::BTreeSet<_> = told.into_iter().map(|(account, _)| account).collect();
    assert_eq!(accounts, people.iter().map(|who| server.account(who)).collect());
}
