//! Slash commands, the values that they suggest, and buttons.
//!
//! Each counts like a typed command of whoever used it, and goes the way of a typed line. Discord wants an answer within three
//! seconds, so the gateway gives one at once; what comes of the command is told by the bot's usual messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serenity::all::{
    AutocompleteChoice, ButtonStyle, ChannelId, CommandDataOptionValue, CommandInteraction, CommandOptionType, CreateActionRow,
    CreateAllowedMentions, CreateAutocompleteResponse, CreateButton, CreateCommand, CreateCommandOption, CreateInteractionResponse,
    CreateInteractionResponseMessage, GuildId, Http, Interaction, InteractionId, ReactionType, UserId,
};

use super::rest::trouble;
use super::{Discord, account, render};
use crate::chat::Offer;
use crate::chat::menu::{Entry, Holds, Menu};
use crate::chat::text::clean;

/// What stands before the command in a button's name.
const RUN: &str = "run ";

/// Discord's limits: <https://docs.discord.com/developers/interactions/application-commands>.
const SUMMARY: usize = 100;
const CHOICES: usize = 25;
const CHOICE: usize = 100;
const BUTTON_NAME: usize = 100;
const BUTTONS: usize = 5;

/// How much of a line is shown to everybody; a message may have 2,000 UTF-16 units.
const ECHO: usize = 1900;

/// The buttons for what a reply offers.
pub(super) fn buttons(offers: &[Offer]) -> Vec<CreateActionRow> {
    let fits = offers.iter().filter(|offer| RUN.len() + offer.command.len() <= BUTTON_NAME);
    let buttons: Vec<CreateButton> = fits
        .map(|offer| {
            CreateButton::new(format!("{RUN}{}", offer.command))
                .label(offer.label.clone())
                .emoji(ReactionType::Unicode(offer.emoji.clone()))
                .style(match offer.command.split(' ').next() {
                    Some("approve" | "retry") => ButtonStyle::Success,
                    Some("reject" | "cancel" | "undo") => ButtonStyle::Danger,
                    _ => ButtonStyle::Secondary,
                })
        })
        .collect();
    buttons.chunks(BUTTONS).map(|row| CreateActionRow::Buttons(row.to_vec())).collect()
}

/// Tells the servers which commands there are. Whether all know it.
pub(super) async fn register(discord: &Discord) -> bool {
    let Some(menu) = &discord.desk.menu else { return true };
    let commands: Vec<CreateCommand> = menu.entries().iter().map(command).collect();
    let (mut guilds, mut all) = (BTreeSet::new(), true);
    for channel in discord.channels.values() {
        match discord.guild(*channel).await {
            Ok(guild) => drop(guilds.insert(guild)),
            Err(error) => {
                tracing::warn!(%error, "the slash commands can't be offered in a channel's server");
                all = false;
            }
        }
    }
    for guild in guilds {
        all &= offer(&discord.http, guild, &commands).await;
    }
    all
}

async fn offer(http: &Http, guild: GuildId, commands: &[CreateCommand]) -> bool {
    let offered = http.create_guild_commands(guild, &commands).await;
    if let Err(error) = &offered {
        tracing::warn!(error = %trouble(error), "the slash commands can't be offered; was the bot invited with the README's link?");
    }
    offered.is_ok()
}

fn command(entry: &Entry) -> CreateCommand {
    // Discord wants what must be given first.
    let mut fields: Vec<_> = entry.fields.iter().collect();
    fields.sort_by_key(|field| field.optional);
    let options = fields.into_iter().map(|field| {
        let kind = if field.holds == Holds::Switch { CommandOptionType::Boolean } else { CommandOptionType::String };
        let help = if field.help.is_empty() { field.name.clone() } else { render::cut(&field.help, SUMMARY).0 };
        CreateCommandOption::new(kind, field.name.clone(), help)
            .required(!field.optional)
            .set_autocomplete(field.holds == Holds::Known)
    });
    CreateCommand::new(entry.name.clone()).description(render::cut(&entry.summary, SUMMARY).0).set_options(options.collect())
}

/// What was put into a command.
fn given(command: &CommandInteraction) -> BTreeMap<String, String> {
    let value = |value: &CommandDataOptionValue| match value {
        CommandDataOptionValue::String(text) => Some(text.clone()),
        CommandDataOptionValue::Autocomplete { value, .. } => Some(value.clone()),
        CommandDataOptionValue::Boolean(true) => Some("yes".to_owned()),
        _ => None,
    };
    command.data.options.iter().filter_map(|option| Some((option.name.clone(), value(&option.value)?))).collect()
}

/// Answers to interactions, and knows what they stand for.
#[derive(Clone)]
pub(super) struct Desk {
    /// The commands; `None` = there are no slash commands.
    pub menu: Option<Arc<dyn Menu>>,
    /// The channels that the bot is in.
    pub channels: BTreeSet<ChannelId>,
    /// What stands before a command.
    pub prefix: String,
}

impl Desk {
    /// Answers at once, whatever else the bot is busy with. A command is shown to everybody as the line that it stands for.
    pub fn answer(&self, http: &Arc<Http>, interaction: &Interaction) {
        match interaction {
            Interaction::Command(command) => {
                let shown = match self.typed(command) {
                    _ if !self.channels.contains(&command.channel_id) => elsewhere(),
                    Some(line) => calm().content(format!("`{}`", render::cut(&clean(&line).replace('`', "'"), ECHO).0)),
                    None => private("there is no such command any more"),
                };
                respond(http, (command.id, &command.token), CreateInteractionResponse::Message(shown));
            }
            Interaction::Autocomplete(command) => {
                let Some(choices) = self.choices(command) else { return };
                let response = CreateAutocompleteResponse::new().set_choices(choices);
                respond(http, (command.id, &command.token), CreateInteractionResponse::Autocomplete(response));
            }
            Interaction::Component(component) if !self.channels.contains(&component.channel_id) => {
                respond(http, (component.id, &component.token), CreateInteractionResponse::Message(elsewhere()));
            }
            Interaction::Component(component) => {
                respond(http, (component.id, &component.token), CreateInteractionResponse::Acknowledge);
            }
            _ => {}
        }
    }

    /// The line that an interaction stands for, with the channel and whoever says it by that.
    pub fn line(&self, interaction: &Interaction) -> Option<(ChannelId, UserId, String)> {
        let (channel, by, line) = match interaction {
            Interaction::Command(command) => (command.channel_id, command.user.id, self.typed(command)?),
            Interaction::Component(component) => {
                let command = component.data.custom_id.strip_prefix(RUN)?;
                (component.channel_id, component.user.id, format!("{}{command}", self.prefix))
            }
            _ => return None,
        };
        self.channels.contains(&channel).then_some((channel, by, line))
    }

    fn typed(&self, command: &CommandInteraction) -> Option<String> {
        let line = self.menu.as_ref()?.line(&command.data.name, &given(command))?;
        Some(format!("{}{line}", self.prefix))
    }

    /// What fits the field in which somebody types. What there is, is the business of those who are in the bot's channels.
    fn choices(&self, command: &CommandInteraction) -> Option<Vec<AutocompleteChoice>> {
        let field = command.data.autocomplete()?.name.to_owned();
        let menu = self.menu.as_ref().filter(|_| self.channels.contains(&command.channel_id));
        let suggest = |menu: &Arc<dyn Menu>| menu.suggest(&account(command.user.id), &command.data.name, &field, &given(command));
        let found = menu.map(suggest).unwrap_or_default();
        let fits = found.into_iter().filter(|found| found.value.chars().count() <= CHOICE).take(CHOICES);
        Some(fits.map(|found| AutocompleteChoice::new(render::cut(&found.label, CHOICE).0, found.value)).collect())
    }
}

/// The bot isn't in the channel.
fn elsewhere() -> CreateInteractionResponseMessage {
    private("I don't listen in this channel: the fleet file's [[rooms]] name those in which I do")
}

fn private(text: &str) -> CreateInteractionResponseMessage {
    calm().content(text).ephemeral(true)
}

/// An answer that calls nobody, whatever it quotes: without a word of it Discord calls everybody who is named.
fn calm() -> CreateInteractionResponseMessage {
    CreateInteractionResponseMessage::new().allowed_mentions(CreateAllowedMentions::new())
}

/// Beside everything else: there are three seconds for it.
fn respond(http: &Arc<Http>, (id, token): (InteractionId, &str), response: CreateInteractionResponse) {
    let (http, token) = (http.clone(), token.to_owned());
    tokio::spawn(async move {
        if let Err(error) = http.create_interaction_response(id, &token, &response, Vec::new()).await {
            tracing::warn!(error = %trouble(&error), "Discord didn't take the answer to a slash command or a button");
        }
    });
}
