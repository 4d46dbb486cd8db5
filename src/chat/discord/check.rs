//! What `shipmate check` says of Discord: whether the token is accepted, and what the bot may not do that it has to.

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use serenity::all::{ApplicationFlags, ChannelId, Permissions, UserId};

use super::Discord;
use super::rest::trouble;
use crate::chat::Checked;

/// What the bot needs in each of its channels, with what people call it in Discord.
const NEEDED: [(Permissions, &str); 7] = [
    (Permissions::VIEW_CHANNEL, "View Channel"),
    (Permissions::SEND_MESSAGES, "Send Messages"),
    (Permissions::EMBED_LINKS, "Embed Links"),
    (Permissions::ATTACH_FILES, "Attach Files"),
    (Permissions::READ_MESSAGE_HISTORY, "Read Message History"),
    (Permissions::CREATE_PUBLIC_THREADS, "Create Public Threads"),
    (Permissions::SEND_MESSAGES_IN_THREADS, "Send Messages in Threads"),
];

/// How far apart the clocks of this machine and of Discord may be: when a message was written is told by Discord's.
const APART: SignedDuration = SignedDuration::from_secs(10);

/// The permissions of the link that invites the bot, as Discord's number.
pub fn permissions() -> u64 {
    NEEDED.iter().map(|(permission, _)| permission.bits()).sum()
}

impl Discord {
    /// Looks at all that can be known before the first message; nothing is shown in any channel.
    pub async fn check(&self) -> Vec<Checked> {
        let me = match self.http.get_current_user().await {
            Ok(me) => me,
            Err(error) => return vec![Checked::new("token", Err(trouble(&error)))],
        };
        let mut all =
            vec![Checked::new("token", Ok(format!("the bot is {}", me.name))), Checked::new("intents", self.intent().await)];
        all.push(Checked::new("clock", self.clock().await));
        for (room, channel) in &self.channels {
            all.push(Checked::new(room.0.as_str(), self.may(*channel, me.id).await));
        }
        all
    }

    /// Whether Discord lets the bot read what people write.
    async fn intent(&self) -> Result<String, String> {
        let application = self.http.get_current_application_info().await.map_err(|error| trouble(&error))?;
        let reads = ApplicationFlags::GATEWAY_MESSAGE_CONTENT | ApplicationFlags::GATEWAY_MESSAGE_CONTENT_LIMITED;
        if application.flags.is_some_and(|flags| flags.intersects(reads)) {
            return Ok("the bot may read messages".to_owned());
        }
        Err("the bot reads only messages that mention it: in Discord's developer portal, open the application, then Bot, and switch on \
             Message Content Intent"
            .to_owned())
    }

    /// Whether this machine's clock goes with Discord's: otherwise new commands look old.
    async fn clock(&self) -> Result<String, String> {
        let address = format!("{}/api/v10/gateway", self.access.api.as_deref().unwrap_or("https://discord.com"));
        let client = (self.access.client)().map_err(|error| error.to_string())?;
        let asked = client.get(address).send().await.map_err(|_| "Discord can't be reached".to_owned())?;
        let ours = (self.now)();
        let theirs = asked.headers().get("date").and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
        let theirs: Timestamp = theirs.ok_or("Discord doesn't tell the time")?.timestamp();
        let apart = ours.duration_since(theirs);
        if apart.unsigned_abs() <= APART.unsigned_abs() {
            return Ok("it goes with Discord's".to_owned());
        }
        let way = if apart.is_positive() { "ahead of" } else { "behind" };
        Err(format!(
            "this machine's clock is {} s {way} Discord's: switch time synchronization on, or new commands look old",
            apart.unsigned_abs().as_secs()
        ))
    }

    async fn may(&self, channel: ChannelId, me: UserId) -> Result<String, String> {
        let told = self.http.get_channel(channel).await.map_err(|error| trouble(&error))?;
        let told = told.guild().ok_or("it is no channel of a server")?;
        let guild = self.http.get_guild(told.guild_id).await.map_err(|error| trouble(&error))?;
        let member = self.http.get_member(told.guild_id, me).await.map_err(|error| trouble(&error))?;
        let may = guild.user_permissions_in(&told, &member);
        let missing: Vec<&str> = NEEDED.iter().filter(|(needed, _)| !may.contains(*needed)).map(|(_, name)| *name).collect();
        if missing.is_empty() {
            return Ok(format!("#{} of {}", told.name, guild.name));
        }
        Err(format!(
            "in #{} of {} the bot misses: {}; give its role these permissions there",
            told.name,
            guild.name,
            missing.join(", ")
        ))
    }
}
