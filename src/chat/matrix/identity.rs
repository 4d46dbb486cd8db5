//! The bot's identity: cross-signing, so that people's apps trust its device, and recovery, so that a new device can have the same one.
//!
//! It is set up once, at the first start. A bot without it still works in rooms that aren't encrypted, so what is missing is said
//! and stops nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use matrix_sdk::Client;
use matrix_sdk::encryption::recovery::{RecoveryError, RecoveryState};
use matrix_sdk::ruma::api::client::uiaa::{AuthData, MatrixUserIdentifier, Password, UserIdentifier};

use tokio::time::sleep;

use super::check::{self, Asker};
use super::errors::trouble;
use super::folder::Folder;
use super::{Login, Matrix, Parts};
use crate::secret::Secret;

/// How long to wait before what is missing is set up again, and at most.
const MEND_FIRST: Duration = Duration::from_secs(5);
const MEND_LIMIT: Duration = Duration::from_secs(600);

/// Sets up what is missing, now and then: the homeserver may not have answered in time.
pub(super) async fn mend(matrix: &Matrix) {
    let mut wait = MEND_FIRST;
    loop {
        sleep(wait).await;
        let Some(session) = matrix.0.session().filter(|_| matrix.weakness().is_some()) else {
            wait = MEND_FIRST;
            continue;
        };
        let weakness = secure(&session.client, matrix.parts(), &Folder::at(&matrix.parts().store)).await;
        match &weakness {
            Some(why) => tracing::warn!(%why, "people still can't trust the bot's device"),
            None => tracing::info!("people can trust the bot's device now"),
        }
        matrix.weakness_is(weakness);
        wait = (wait * 2).min(MEND_LIMIT);
    }
}

/// Sets up what is missing; what still is.
pub(super) async fn secure(client: &Client, parts: &Parts, folder: &Folder) -> Option<String> {
    client.encryption().wait_for_e2ee_initialization_tasks().await;
    let published = match published(client, parts).await {
        Ok(published) => published,
        Err(why) => return Some(format!("whether the bot's device is cross-signed isn't known: {why}")),
    };
    if let Err(why) = sign(client, &parts.login, published.identity).await {
        return Some(format!("the bot's device can't be cross-signed: {why}"));
    }
    if !is_complete(client).await
        && let Err(why) = recover(client, parts).await
    {
        return Some(why);
    }
    if let Err(why) = sign_own_device(client, published.identity && !published.device).await {
        return Some(format!("the bot's device isn't cross-signed: {why}"));
    }
    // A key that was being made when the bot died was never written: nobody has it.
    let missing = client.encryption().recovery().state() == RecoveryState::Disabled || folder.makes_recovery();
    if missing && let Err(why) = make_recovery(client, folder).await {
        tracing::warn!(%why, "recovery can't be set up: with a lost store the bot's identity would be lost too");
    }
    None
}

/// What the homeserver has of the bot's identity. The SDK goes by what it has itself, also where the homeserver never got that.
struct Published {
    /// The account has one.
    identity: bool,
    /// It has signed the device.
    device: bool,
}

async fn published(client: &Client, parts: &Parts) -> Result<Published, String> {
    let (Some(token), Some(device)) = (client.access_token().and_then(Secret::new), client.device_id()) else {
        return Err("there is no session".to_owned());
    };
    let me = &parts.user;
    let keys = Asker { client, homeserver: &parts.homeserver, token }.keys(&BTreeSet::from([me.clone()])).await?;
    let identity = keys.get("master_keys").is_some_and(|all| all.get(me).is_some());
    Ok(Published { identity, device: check::own(&keys, me, device.as_str()).is_ok() })
}

/// Makes the keys of cross-signing, if the account has none.
async fn sign(client: &Client, login: &Login, is_published: bool) -> Result<(), String> {
    let encryption = client.encryption();
    let made = match is_published {
        true => encryption.bootstrap_cross_signing_if_needed(None).await,
        false => encryption.bootstrap_cross_signing(None).await,
    };
    let Err(error) = made else { return Ok(()) };
    let (Some(asked), Login::Password(password), Some(me)) = (error.as_uiaa_response(), login, client.user_id()) else {
        return Err(trouble(&error));
    };
    // The homeserver wants to see the password once more.
    let user = UserIdentifier::Matrix(MatrixUserIdentifier::new(me.to_string()));
    let mut proof = Password::new(user, password.expose().to_owned());
    proof.session = asked.session.clone();
    encryption.bootstrap_cross_signing(Some(AuthData::Password(proof))).await.map_err(|error| trouble(&error))
}

async fn is_complete(client: &Client) -> bool {
    client.encryption().cross_signing_status().await.is_some_and(|status| status.is_complete())
}

/// Gets the keys of cross-signing from what the homeserver keeps, for a new device of the account.
async fn recover(client: &Client, parts: &Parts) -> Result<(), String> {
    let Some(key) = &parts.recovery_key else {
        return Err("the account has an identity whose keys aren't in the bot's store, so nobody trusts its device: set \
                    SHIPMATE_MATRIX_RECOVERY_KEY to the recovery key that was kept at the first start, or reset the account's identity with \
                    another app"
            .to_owned());
    };
    // The error may quote what it can't read.
    let recovered = client.encryption().recovery().recover(key.expose().trim()).await;
    if recovered.is_err() || !is_complete(client).await {
        return Err(
            "SHIPMATE_MATRIX_RECOVERY_KEY doesn't open what the homeserver keeps of the bot's keys, or not all of them are there: \
                    set the newest one"
                .to_owned(),
        );
    }
    tracing::info!("the bot's identity in Matrix was recovered: its new device is trusted like the old one");
    Ok(())
}

async fn sign_own_device(client: &Client, is_unknown: bool) -> Result<(), String> {
    let device = client.encryption().get_own_device().await.map_err(|error| error.to_string())?;
    match device {
        Some(device) if is_unknown || !device.is_cross_signed_by_owner() => {
            device.verify().await.map_err(|error| error.to_string())
        }
        Some(_) => Ok(()),
        None => Err("the homeserver doesn't know it yet".to_owned()),
    }
}

/// Lets the homeserver keep the bot's keys, locked with a new key that people keep.
async fn make_recovery(client: &Client, folder: &Folder) -> Result<(), String> {
    // The homeserver has the lock before anybody has the key: that one is coming must outlast the process.
    folder.begin_recovery().map_err(|error| error.to_string())?;
    let recovery = client.encryption().recovery();
    let key = match recovery.state() {
        RecoveryState::Disabled => match recovery.enable().await {
            // Half of it was done when the bot died.
            Err(RecoveryError::BackupExistsOnServer) => recovery.reset_key().await,
            made => made,
        },
        RecoveryState::Unknown | RecoveryState::Enabled | RecoveryState::Incomplete => recovery.reset_key().await,
    };
    let key = key.map_err(|error| error.to_string())?;
    let file = folder.keep_recovery(&key).map_err(|error| error.to_string())?;
    // The log is read by more people than may have the key.
    tracing::warn!(
        file = %file.display(),
        "the bot has an identity in Matrix now. Keep the recovery key in this file at a safe place and delete the file: with it, as \
         SHIPMATE_MATRIX_RECOVERY_KEY, a bot whose store is lost is the same again"
    );
    Ok(())
}
