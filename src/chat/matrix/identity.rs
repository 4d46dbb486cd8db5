//! The bot's identity: cross-signing, so that people's apps trust its device, and recovery, so that a new device can have the same one.
//!
//! It is set up once, at the first start. A bot without it still works in rooms that aren't encrypted, so what is missing is said
//! and stops nothing.

use matrix_sdk::Client;
use matrix_sdk::encryption::recovery::RecoveryState;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, MatrixUserIdentifier, Password, UserIdentifier};

use super::errors::trouble;
use super::folder::Folder;
use super::{Login, Parts};

/// Sets up what is missing; what still is.
pub(super) async fn secure(client: &Client, parts: &Parts, folder: &Folder) -> Option<String> {
    client.encryption().wait_for_e2ee_initialization_tasks().await;
    if let Err(why) = sign(client, &parts.login).await {
        return Some(format!("the bot's device can't be cross-signed: {why}"));
    }
    if !is_complete(client).await
        && let Err(why) = recover(client, parts).await
    {
        return Some(why);
    }
    if let Err(why) = sign_own_device(client).await {
        return Some(format!("the bot's device isn't cross-signed: {why}"));
    }
    if client.encryption().recovery().state() == RecoveryState::Disabled
        && let Err(why) = enable_recovery(client, folder).await
    {
        tracing::warn!(%why, "recovery can't be set up: with a lost store the bot's identity would be lost too");
    }
    None
}

/// Makes the keys of cross-signing, if the account has none.
async fn sign(client: &Client, login: &Login) -> Result<(), String> {
    let encryption = client.encryption();
    let Err(error) = encryption.bootstrap_cross_signing_if_needed(None).await else { return Ok(()) };
    let (Some(asked), Login::Password(password), Some(me)) = (error.as_uiaa_response(), login, client.user_id()) else {
        return Err(trouble(&error));
    };
    // The homeserver wants to see the password once more.
    let user = UserIdentifier::Matrix(MatrixUserIdentifier::new(me.to_string()));
    let mut proof = Password::new(user, password.expose().to_owned());
    proof.session = asked.session.clone();
    encryption.bootstrap_cross_signing_if_needed(Some(AuthData::Password(proof))).await.map_err(|error| trouble(&error))
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

async fn sign_own_device(client: &Client) -> Result<(), String> {
    let device = client.encryption().get_own_device().await.map_err(|error| error.to_string())?;
    match device {
        Some(device) if !device.is_cross_signed_by_owner() => device.verify().await.map_err(|error| error.to_string()),
        Some(_) => Ok(()),
        None => Err("the homeserver doesn't know it yet".to_owned()),
    }
}

/// Lets the homeserver keep the bot's keys, locked with a key that people keep.
async fn enable_recovery(client: &Client, folder: &Folder) -> Result<(), String> {
    let key = client.encryption().recovery().enable().await.map_err(|error| error.to_string())?;
    let file = folder.keep_recovery(&key).map_err(|error| error.to_string())?;
    // The log is read by more people than may have the key.
    tracing::warn!(
        file = %file.display(),
        "the bot has an identity in Matrix now. Keep the recovery key in this file at a safe place and delete the file: with it, as \
         SHIPMATE_MATRIX_RECOVERY_KEY, a bot whose store is lost is the same again"
    );
    Ok(())
}
