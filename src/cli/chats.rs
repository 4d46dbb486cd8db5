//! The chat services that the settings and the fleet file name: what doesn't fit, and the adapters themselves.
//!
//! A build may be without a service; then whatever names it is told so before anything starts.

use std::sync::Arc;

#[cfg(any(feature = "discord", feature = "matrix"))]
use jiff::Timestamp;

use super::wiring::World;
#[cfg(feature = "discord")]
use crate::chat::discord::{self, Discord};
#[cfg(feature = "matrix")]
use crate::chat::matrix::{self, Matrix};
use crate::chat::menu::Menu;
use crate::chat::{Chat, Checked};
#[cfg(any(feature = "discord", feature = "matrix"))]
use crate::domain::message::RoomId;
use crate::fleet::Fleet;
#[cfg(any(feature = "discord", feature = "matrix"))]
use crate::runbook::Prefix;
use crate::settings::Settings;

/// How long Discord may take to be reached, and to answer.
#[cfg(feature = "discord")]
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
#[cfg(feature = "discord")]
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(25);

/// The folder of Matrix's own store, in the folder of the bot's.
#[cfg(feature = "matrix")]
const MATRIX_FOLDER: &str = "matrix";

/// A service, as the settings and the fleet file name it.
struct Service {
    name: &'static str,
    /// What its rooms begin with.
    platform: &'static str,
    /// What the fleet file calls its rooms.
    rooms: &'static str,
    example: &'static str,
    variable: &'static str,
    feature: &'static str,
    is_built: bool,
    is_set: bool,
}

fn services(settings: &Settings) -> [Service; 2] {
    [
        Service {
            name: "Discord",
            platform: "discord:",
            rooms: "channels",
            example: "discord:NUMBER",
            variable: "SHIPMATE_DISCORD_TOKEN",
            feature: "discord",
            is_built: cfg!(feature = "discord"),
            is_set: settings.discord_token.is_some(),
        },
        Service {
            name: "Matrix",
            platform: "matrix:",
            rooms: "rooms",
            example: "matrix:!id:server",
            variable: "SHIPMATE_MATRIX_HOMESERVER",
            feature: "matrix",
            is_built: cfg!(feature = "matrix"),
            is_set: settings.matrix.is_some(),
        },
    ]
}

/// What the settings and the fleet file say of chat services that doesn't fit.
pub(super) fn problems(fleet: &Fleet, settings: &Settings) -> Vec<String> {
    services(settings).iter().filter_map(|service| problem(fleet, service)).collect()
}

fn problem(fleet: &Fleet, service: &Service) -> Option<String> {
    let Service { name, variable, rooms, .. } = service;
    let named = fleet.rooms.keys().any(|room| room.0.starts_with(service.platform));
    if (named || service.is_set) && !service.is_built {
        let who =
            if service.is_set { (*variable).to_owned() } else { format!("the fleet file's [[rooms]] name {rooms} of {name}") };
        let how = format!("build it with `--features {}`, or take them out", service.feature);
        return Some(format!("{who}: this shipmate was built without {name}; {how}"));
    }
    match (named, service.is_set) {
        (true, false) => Some(format!("{variable}: it isn't set, and the fleet file's [[rooms]] name {rooms} of {name}")),
        (false, true) => {
            let place = rooms.trim_end_matches('s');
            let how = format!("name one in the fleet file, [[rooms]] with room = \"{}\"", service.example);
            Some(format!("{variable}: the bot would be in no {place}: {how}"))
        }
        (true, true) | (false, false) => None,
    }
}

/// The chat services that the bot is in.
pub(super) struct Chats {
    #[cfg(feature = "discord")]
    discord: Option<Discord>,
    #[cfg(feature = "matrix")]
    matrix: Option<Matrix>,
}

impl Chats {
    /// Makes the adapters; nothing is asked yet. `menu` has the commands for those who don't type them.
    ///
    /// # Errors
    /// With what can't be used, and why.
    #[cfg_attr(not(feature = "discord"), expect(unused_variables, reason = "only Discord has a menu"))]
    pub(super) fn of(world: &World, settings: &Settings, menu: Option<Arc<dyn Menu>>) -> Result<Chats, String> {
        Ok(Chats {
            #[cfg(feature = "discord")]
            discord: discord_of(world, settings, menu)?,
            #[cfg(feature = "matrix")]
            matrix: matrix_of(world, settings)?,
        })
    }

    /// The adapters, for the bot.
    #[cfg_attr(not(any(feature = "discord", feature = "matrix")), expect(unused_mut, reason = "no service is built in"))]
    pub(super) fn into_all(self) -> Vec<Arc<dyn Chat>> {
        let mut all: Vec<Arc<dyn Chat>> = Vec::new();
        #[cfg(feature = "discord")]
        all.extend(self.discord.map(|chat| Arc::new(chat) as Arc<dyn Chat>));
        #[cfg(feature = "matrix")]
        all.extend(self.matrix.map(|chat| Arc::new(chat) as Arc<dyn Chat>));
        all
    }

    /// Looks at each service: its name, and what was found.
    #[cfg_attr(not(any(feature = "discord", feature = "matrix")), expect(unused_mut, reason = "no service is built in"))]
    pub(super) async fn check(&self) -> Vec<(&'static str, Vec<Checked>)> {
        let mut all = Vec::new();
        #[cfg(feature = "discord")]
        if let Some(discord) = &self.discord {
            all.push(("Discord", discord.check().await));
        }
        #[cfg(feature = "matrix")]
        if let Some(matrix) = &self.matrix {
            all.push(("Matrix", matrix.check().await));
        }
        all
    }
}

/// The rooms of a platform, and those of them in which builds may be announced.
#[cfg(any(feature = "discord", feature = "matrix"))]
fn rooms<C: FromIterator<RoomId>>(world: &World, platform: &str, announcing: bool) -> C {
    let of = world.fleet.rooms.iter().filter(|(room, spec)| room.0.starts_with(platform) && (!announcing || spec.announces()));
    of.map(|(room, _)| room.clone()).collect()
}

#[cfg(feature = "discord")]
fn discord_of(world: &World, settings: &Settings, menu: Option<Arc<dyn Menu>>) -> Result<Option<Discord>, String> {
    let Some(token) = settings.discord_token.clone() else { return Ok(None) };
    let client = || reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN).build();
    let numbers = |person: &crate::fleet::Person| {
        person.accounts.iter().filter_map(|account| account.0.strip_prefix(discord::PLATFORM)?.parse().ok()).collect()
    };
    let parts = discord::Parts {
        token,
        rooms: rooms(world, discord::PLATFORM, false),
        announcing: rooms(world, discord::PLATFORM, true),
        prefix: before_commands(settings),
        api: settings.discord_api.clone(),
        client: Arc::new(client),
        people: world.fleet.people.iter().map(|(name, person)| (name.clone(), numbers(person))).collect(),
        menu,
        now: Timestamp::now,
    };
    Discord::new(parts).map(Some).map_err(|error| error.to_string())
}

#[cfg(feature = "matrix")]
fn matrix_of(world: &World, settings: &Settings) -> Result<Option<Matrix>, String> {
    use crate::settings::MatrixLogin;

    let Some(account) = settings.matrix.clone() else { return Ok(None) };
    let ids = |person: &crate::fleet::Person| {
        person.accounts.iter().filter_map(|account| Some(account.0.strip_prefix(matrix::PLATFORM)?.to_owned())).collect()
    };
    let parts = matrix::Parts {
        homeserver: account.homeserver,
        user: account.user,
        login: match account.login {
            MatrixLogin::Password(password) => matrix::Login::Password(password),
            MatrixLogin::Token(token) => matrix::Login::Token(token),
        },
        device_name: account.device_name,
        recovery_key: account.recovery_key,
        store: settings.store.join(MATRIX_FOLDER),
        rooms: rooms(world, matrix::PLATFORM, false),
        announcing: rooms(world, matrix::PLATFORM, true),
        prefix: before_commands(settings),
        people: world.fleet.people.iter().map(|(name, person)| (name.clone(), ids(person))).collect(),
        now: Timestamp::now,
    };
    Matrix::new(parts).map(Some).map_err(|error| error.to_string())
}

#[cfg(any(feature = "discord", feature = "matrix"))]
/// What stands before a command, with the space that a name wants after it.
fn before_commands(settings: &Settings) -> String {
    settings.prefix.parse::<Prefix>().map_or_else(|_| settings.prefix.clone(), |prefix| prefix.typed(""))
}
