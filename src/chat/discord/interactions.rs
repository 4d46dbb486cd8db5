//! Slash commands, the values that they suggest, and buttons.
//!
//! Each counts like a typed command of whoever used it, and goes the way of a typed line. Discord wants an answer within three
//! seconds, so it gets one beside everything else; what comes of the command is told by the bot's usual messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serenity::all::{
    AutocompleteChoice, ButtonStyle, CommandDataOptionValue, CommandInteraction, CommandOptionType, ComponentInteraction,
    CreateActionRow, CreateAllowedMentions, CreateAutocompleteResponse, CreateButton, CreateCommand, CreateCommandOption,
    CreateInteractionResponse, CreateInteractionResponseMessage, GuildId, Http, InteractionId, ReactionType,
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
    let Some(menu) = &discord.menu else { return true };
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

/// The line that a slash command stands for, without the prefix; whoever used it, and everybody else, is shown the whole line.
pub(super) fn used(http: &Arc<Http>, menu: &dyn Menu, command: &CommandInteraction, prefix: &str) -> Option<String> {
    let line = menu.line(&command.data.name, &given(command));
    let shown = match &line {
        Some(line) => {
            let line = clean(&format!("{prefix}{line}")).replace('`', "'");
            calm().content(format!("`{}`", render::cut(&line, ECHO).0))
        }
        None => private("there is no such command any more"),
    };
    respond(http, (command.id, &command.token), CreateInteractionResponse::Message(shown));
    line
}

/// Suggests values for the field in which somebody types; nothing without a menu.
pub(super) fn suggest(http: &Arc<Http>, menu: Option<&dyn Menu>, command: &CommandInteraction) {
    let Some(field) = command.data.autocomplete().map(|option| option.name.to_owned()) else { return };
    let suggest = |menu: &dyn Menu| menu.suggest(&account(command.user.id), &command.data.name, &field, &given(command));
    let found = menu.map(suggest).unwrap_or_default();
    let fits = found.into_iter().filter(|found| found.value.chars().count() <= CHOICE).take(CHOICES);
    let choices = fits.map(|found| AutocompleteChoice::new(render::cut(&found.label, CHOICE).0, found.value)).collect();
    let response = CreateAutocompleteResponse::new().set_choices(choices);
    respond(http, (command.id, &command.token), CreateInteractionResponse::Autocomplete(response));
}

/// The line that a button stands for, without the prefix.
pub(super) fn clicked(http: &Arc<Http>, component: &ComponentInteraction) -> Option<String> {
    let line = component.data.custom_id.strip_prefix(RUN)?.to_owned();
    respond(http, (component.id, &component.token), CreateInteractionResponse::Acknowledge);
    Some(line)
}

/// The bot isn't in the channel.
pub(super) fn refuse(http: &Arc<Http>, id: InteractionId, token: &str) {
    let no = private("I don't listen in this channel: the fleet file's [[rooms]] name those in which I do");
    respond(http, (id, token), CreateInteractionResponse::Message(no));
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
