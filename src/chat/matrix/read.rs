//! What people write: which text says something to the bot, and who can be sure that its author wrote it.
//!
//! An edit is never a command, since people vote on what was said and not on what it became. What a bridge carries over is said by
//! a puppet of the bridge, and a person must not be two: accounts that look like puppets are heard only if the fleet file lists them.

use matrix_sdk::deserialized_responses::{VerificationLevel, VerificationState};
use matrix_sdk::ruma::events::room::message::{MessageType, Relation, RoomMessageEventContent};
use matrix_sdk::ruma::{OwnedEventId, UserId};

use crate::domain::message::Doubt;

/// What the names of bridges' puppets begin with; appservices have names with `_` first by custom.
const BRIDGES: [&str; 22] = [
    "_",
    "discord_",
    "facebook_",
    "gitter_",
    "gmessages_",
    "googlechat_",
    "hangouts_",
    "heisenbridge_",
    "imessage_",
    "instagram_",
    "irc_",
    "mattermost_",
    "messenger_",
    "meta_",
    "rocketchat_",
    "signal_",
    "skype_",
    "slack_",
    "teams_",
    "telegram_",
    "whatsapp_",
    "xmpp_",
];

/// What a message is to the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// Somebody says this.
    Said(String),
    /// Another bot says this, which may announce a build.
    Noted(String),
    /// It is an edit, a quote, code, or no text.
    Nothing,
}

/// What a message says. `names` are what the bot may be called at the beginning, a mention stands for `prefix`.
pub(super) fn read(content: &RoomMessageEventContent, names: &[String], prefix: &str) -> Read {
    if matches!(content.relates_to, Some(Relation::Replacement(_))) {
        return Read::Nothing;
    }
    match &content.msgtype {
        MessageType::Text(text) => {
            let html = text.formatted.as_ref().map(|formatted| formatted.body.as_str());
            spoken(&text.body, html, names, prefix).map_or(Read::Nothing, Read::Said)
        }
        MessageType::Notice(notice) => Read::Noted(notice.body.clone()),
        _ => Read::Nothing,
    }
}

/// The thread that a message was written in.
pub(super) fn thread_of(content: &RoomMessageEventContent) -> Option<OwnedEventId> {
    match &content.relates_to {
        Some(Relation::Thread(thread)) => Some(thread.event_id.clone()),
        _ => None,
    }
}

/// What a person said to the bot: with the prefix where they mentioned it. `None` = it is a quote or code, and no command.
fn spoken(body: &str, html: Option<&str>, names: &[String], prefix: &str) -> Option<String> {
    let body = without_quote(body).trim_start();
    let html = html.map(|html| html.rsplit_once("</mx-reply>").map_or(html, |(_, rest)| rest).trim_start());
    let begins_with = |tag: &str| html.is_some_and(|html| html.trim_start_matches("<p>").starts_with(tag));
    if body.starts_with(['`', '>']) || ["<pre", "<code", "<blockquote"].into_iter().any(begins_with) {
        return None;
    }
    let pill = html.and_then(|html| pill(html.trim_start_matches("<p>"), names));
    let of_pill = pill.as_deref().and_then(|name| after_name(body, name, true));
    let called = of_pill.or_else(|| names.iter().filter_map(|name| after_name(body, name, name.starts_with('@'))).next());
    // A prefix that is a word stands apart.
    let gap = if prefix.ends_with(char::is_alphanumeric) { " " } else { "" };
    Some(called.map_or_else(|| body.to_owned(), |rest| format!("{prefix}{gap}{rest}")))
}

/// The text without the quote of what it answers to, which old apps put before it.
fn without_quote(body: &str) -> &str {
    let mut rest = body;
    while let Some(line) = rest.split_inclusive('\n').next().filter(|line| line.starts_with("> ") || line.trim_end() == ">") {
        rest = &rest[line.len()..];
    }
    // Without the empty line after it, it is a quote that somebody typed.
    match rest.strip_prefix('\n') {
        Some(rest) if !rest.trim().is_empty() => rest,
        _ => body,
    }
}

/// What the bot is called in a mention at the beginning of an HTML body.
fn pill(html: &str, names: &[String]) -> Option<String> {
    let link = html.strip_prefix("<a href=\"https://matrix.to/#/")?;
    let (target, rest) = link.split_once("\">")?;
    let id = percent_encoding::percent_decode_str(target).decode_utf8().ok()?;
    let (name, _) = rest.split_once("</a>")?;
    names
        .iter()
        .any(|known| *known == *id)
        .then(|| name.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
}

/// What stands after a name at the beginning of a text. One that may be said of the bot as well as to it needs an `@` before it or a
/// colon after it, unless it is `surely` a mention.
fn after_name<'a>(body: &'a str, name: &str, surely: bool) -> Option<&'a str> {
    let at = body.strip_prefix('@').filter(|_| !name.starts_with('@'));
    let rest = at.unwrap_or(body);
    let begin = rest.get(..name.len()).filter(|begin| !name.is_empty() && begin.to_lowercase() == name.to_lowercase())?;
    let rest = &rest[begin.len()..];
    let after = rest.strip_prefix([':', ',']);
    let addressed = surely || at.is_some() || after.is_some();
    let after = after.unwrap_or(rest);
    (addressed && after.starts_with(char::is_whitespace)).then(|| after.trim_start())
}

/// Whether an account looks like one that a bridge speaks through.
pub(super) fn is_puppet(user: &UserId) -> bool {
    BRIDGES.iter().any(|begin| user.localpart().starts_with(begin))
}

/// Why the author of an encrypted message isn't proven; `None` = it is.
pub(super) fn doubt(state: &VerificationState) -> Option<Doubt> {
    match state {
        // That the bot has never compared emojis with the author says nothing against them: the fleet file names the account.
        VerificationState::Verified | VerificationState::Unverified(VerificationLevel::UnverifiedIdentity) => None,
        VerificationState::Unverified(VerificationLevel::UnsignedDevice) => Some(Doubt::UnsignedDevice),
        VerificationState::Unverified(VerificationLevel::VerificationViolation) => Some(Doubt::ChangedIdentity),
        VerificationState::Unverified(VerificationLevel::None(_) | VerificationLevel::MismatchedSender) => {
            Some(Doubt::UnknownDevice)
        }
    }
}

/// An emoji without variation selectors.
pub(super) fn plain(emoji: &str) -> String {
    emoji.chars().filter(|c| !('\u{fe00}'..='\u{fe0f}').contains(c)).collect()
}

#[cfg(test)]
mod tests {
    use matrix_sdk::deserialized_responses::DeviceLinkProblem;
    use matrix_sdk::ruma::user_id;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn reads(content: Value) -> Read {
        let names = ["@bot:example.org".to_owned(), "bot".to_owned(), "Ship Mate".to_owned()];
        read(&serde_json::from_value(content).unwrap(), &names, "!")
    }

    fn said(text: &str) -> Read {
        Read::Said(text.to_owned())
    }

    fn text(body: &str) -> Value {
        json!({ "msgtype": "m.text", "body": body })
    }

    #[test]
    fn people_type_commands_or_mention_the_bot() {
        for (body, expected) in [
            ("!deploy blog", "!deploy blog"),
            ("  !deploy blog", "!deploy blog"),
            ("hello", "hello"),
            ("bot: deploy blog", "!deploy blog"),
            ("@bot deploy blog", "!deploy blog"),
            ("@bot:example.org deploy blog", "!deploy blog"),
            ("@bot:example.org: deploy blog", "!deploy blog"),
            ("ship mate, deploy blog", "!deploy blog"),
            ("bottle it", "bottle it"),
            ("bot is away", "bot is away"),
            ("@bot:example.organisation deploy", "@bot:example.organisation deploy"),
            ("bot", "bot"),
        ] {
            assert_eq!(reads(text(body)), said(expected), "{body}");
        }
    }

    #[test]
    fn a_pill_at_the_beginning_is_a_mention_whatever_the_bot_is_called() {
        let html = |user: &str| {
            let formatted = format!("<a href=\"https://matrix.to/#/{user}\">The &lt;Bot&gt;</a>: deploy blog");
            json!({ "msgtype": "m.text", "body": "The <Bot>: deploy blog", "format": "org.matrix.custom.html", "formatted_body": formatted })
        };
        assert_eq!(reads(html("@bot:example.org")), said("!deploy blog"));
        assert_eq!(reads(html("%40bot%3Aexample.org")), said("!deploy blog"));
        assert_eq!(reads(html("@anna:example.org")), said("The <Bot>: deploy blog"));
    }

    #[test]
    fn edits_notices_quotes_and_code_are_no_commands() {
        let mut edit = text("* !deploy blog");
        edit["m.new_content"] = text("!deploy blog");
        edit["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": "$x" });
        assert_eq!(reads(edit), Read::Nothing);
        assert_eq!(reads(json!({ "msgtype": "m.notice", "body": "!deploy blog" })), Read::Noted("!deploy blog".to_owned()));
        assert_eq!(reads(json!({ "msgtype": "m.emote", "body": "!deploy blog" })), Read::Nothing);
        for body in ["> !deploy blog", "`!deploy blog`", "```\n!deploy blog\n```", "> <@anna:example.org> !deploy blog\n\n"] {
            assert_eq!(reads(text(body)), Read::Nothing, "{body}");
        }
        for html in [
            "<pre><code>!deploy blog\n</code></pre>",
            "<blockquote>\n<p>!deploy blog</p></blockquote>",
            "<p><code>!deploy</code></p>",
        ] {
            let mut content = text("!deploy blog");
            content["format"] = json!("org.matrix.custom.html");
            content["formatted_body"] = json!(html);
            assert_eq!(reads(content), Read::Nothing, "{html}");
        }
    }

    #[test]
    fn of_an_answer_only_the_answer_counts() {
        let mut content = text("> <@anna:example.org> !deploy blog\n> now\n\n!status");
        content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": "$x" } });
        content["format"] = json!("org.matrix.custom.html");
        content["formatted_body"] = json!("<mx-reply><blockquote>!deploy blog</blockquote></mx-reply>!status");
        assert_eq!(reads(content), said("!status"));
        let threaded =
            json!({ "msgtype": "m.text", "body": "!show", "m.relates_to": { "rel_type": "m.thread", "event_id": "$root" } });
        assert_eq!(thread_of(&serde_json::from_value(threaded).unwrap()).unwrap(), "$root");
    }

    #[test]
    fn puppets_are_known_by_their_names() {
        for user in [user_id!("@_discord_81384:example.org"), user_id!("@telegram_123:example.org"), user_id!("@_webhook:x")] {
            assert!(is_puppet(user), "{user}");
        }
        for user in [user_id!("@anna:example.org"), user_id!("@discordia:example.org"), user_id!("@anna_discord_:x")] {
            assert!(!is_puppet(user), "{user}");
        }
    }

    #[test]
    fn only_a_device_that_its_owner_signed_proves_who_wrote() {
        let unverified = |level| doubt(&VerificationState::Unverified(level));
        assert_eq!(doubt(&VerificationState::Verified), None);
        assert_eq!(unverified(VerificationLevel::UnverifiedIdentity), None);
        assert_eq!(unverified(VerificationLevel::UnsignedDevice), Some(Doubt::UnsignedDevice));
        assert_eq!(unverified(VerificationLevel::VerificationViolation), Some(Doubt::ChangedIdentity));
        assert_eq!(unverified(VerificationLevel::MismatchedSender), Some(Doubt::UnknownDevice));
        assert_eq!(unverified(VerificationLevel::None(DeviceLinkProblem::MissingDevice)), Some(Doubt::UnknownDevice));
    }

    proptest! {
        #[test]
        fn whatever_people_write_it_is_read(body in any::<String>(), html in any::<Option<String>>()) {
            let names = ["@bot:x".to_owned(), "ß".to_owned()];
            if let Some(text) = spoken(&body, html.as_deref(), &names, "!") {
                prop_assert!(text.starts_with('!') || body.contains(&text));
            }
        }
    }
}
