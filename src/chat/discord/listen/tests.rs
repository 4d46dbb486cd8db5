use super::*;

#[test]
fn a_mention_stands_for_the_prefix_and_quotes_are_no_commands() {
    let me = Some(UserId::new(42));
    for (content, expected) in [
        ("!deploy blog", Some("!deploy blog")),
        ("<@42> deploy blog", Some("!deploy blog")),
        ("  <@!42>deploy blog", Some("!deploy blog")),
        ("<@421> deploy blog", Some("<@421> deploy blog")),
        ("hello <@42> deploy", Some("hello <@42> deploy")),
        ("> !deploy blog", None),
        ("`!deploy blog`", None),
        ("```\n!deploy blog\n```", None),
    ] {
        assert_eq!(spoken(content, me, "!").as_deref(), expected, "{content}");
    }
    assert_eq!(spoken("<@42> deploy", None, "!").as_deref(), Some("<@42> deploy"));
}

#[test]
fn a_messages_number_says_when_it_was_written() {
    // The example of Discord's documentation.
    let message = MessageId::new(175_928_847_299_117_063);
    assert_eq!(written_at(message).to_string(), "2016-04-30T11:18:25.796Z");
    assert!(first_at(written_at(message)) <= message);
    assert_eq!(written_at(first_at(written_at(message))), written_at(message));
    assert_eq!(first_at(Timestamp::UNIX_EPOCH), MessageId::new(1));
}

#[test]
fn few_sessions_are_begun_in_a_short_time() {
    let (mut sessions, begin) = (Sessions::default(), Instant::now());
    // serenity begins one every five seconds.
    let mut refused = (0..20).map(|n| sessions.are_too_many(begin + Duration::from_secs(5 * n)));
    assert_eq!(refused.position(|refused| refused), Some(SESSIONS));
    drop(refused);
    assert!(!sessions.are_too_many(begin + Duration::from_secs(1000)));
}
