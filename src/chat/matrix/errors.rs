//! How what the bot asks the homeserver for goes wrong, in words for people.

use matrix_sdk::ruma::api::error::ErrorKind;
use matrix_sdk::{Error, HttpError};

use crate::chat::ChatError;
use crate::domain::message::MessageRef;

/// Whether somebody ended the bot's session.
pub(super) fn is_unknown_token(error: &Error) -> bool {
    matches!(error.client_api_error_kind(), Some(ErrorKind::UnknownToken(_)))
}

/// Whether the bot's session has only run out: who logs in again goes on with the same device.
pub(super) fn has_run_out(error: &Error) -> bool {
    matches!(error.client_api_error_kind(), Some(ErrorKind::UnknownToken(data)) if data.soft_logout)
}

/// Whether the homeserver says that there is no such thing.
pub(super) fn is_unknown(error: &Error) -> bool {
    matches!(error.client_api_error_kind(), Some(ErrorKind::NotFound))
}

/// Whether the same emoji of the bot is there already.
pub(super) fn is_there_already(error: &Error) -> bool {
    matches!(error.client_api_error_kind(), Some(ErrorKind::DuplicateAnnotation))
}

/// Whether the homeserver doesn't take such a thing, however often it is sent.
fn is_refused(error: &Error) -> bool {
    let too_large = status(error) == Some(413);
    let kind = error.client_api_error_kind();
    too_large || matches!(kind, Some(ErrorKind::TooLarge | ErrorKind::BadJson | ErrorKind::InvalidParam))
}

/// Whether the homeserver answered, and not that it should be tried again.
pub(super) fn is_answered_no(error: &Error) -> bool {
    status(error).is_some_and(|status| (400..500).contains(&status) && ![401, 408, 429].contains(&status))
}

fn status(error: &Error) -> Option<u16> {
    error.as_client_api_error().map(|error| error.status_code.as_u16())
}

/// What went wrong with a message, for those who asked for it.
pub(super) fn about(message: &MessageRef, error: &Error) -> ChatError {
    if is_unknown(error) { ChatError::Gone(message.clone()) } else { of_message(error) }
}

/// The same of one that isn't there yet.
pub(super) fn of_message(error: &Error) -> ChatError {
    if is_refused(error) { ChatError::Refused(trouble(error)) } else { unavailable(error) }
}

/// The same, about no message.
pub(super) fn unavailable(error: &Error) -> ChatError {
    ChatError::Unavailable(trouble(error))
}

/// What went wrong, and how to mend it.
pub(super) fn trouble(error: &Error) -> String {
    match error {
        Error::Http(http) => of_http(http),
        Error::WrongRoomState(_) => "the bot isn't in the room: invite it".to_owned(),
        other => format!("Matrix: {other}"),
    }
}

/// The same of a mere request.
pub(super) fn of_http(error: &HttpError) -> String {
    match error {
        HttpError::Reqwest(error) if error.is_timeout() => "the homeserver doesn't answer in time".to_owned(),
        HttpError::Reqwest(error) => format!("the homeserver can't be reached: {}", innermost(error)),
        HttpError::Cached(error) => of_http(error),
        other => match (other.client_api_error_kind(), other.as_client_api_error()) {
            (Some(ErrorKind::UnknownToken(data)), _) if data.soft_logout => {
                "the bot's session has run out: give it its password, or a new token of the same device, and restart it".to_owned()
            }
            (Some(ErrorKind::UnknownToken(_)), _) => "the homeserver doesn't accept the bot's session any more: somebody ended it. Stop the \
                 bot, move the folder `matrix` of its store away, and start it with its password or a new token, and with its recovery key"
                .to_owned(),
            (Some(ErrorKind::Forbidden), Some(error)) => format!("the homeserver doesn't let the bot do that: {error}"),
            (_, Some(error)) => format!("the homeserver answers {error}"),
            _ => format!("Matrix: {other}"),
        },
    }
}

/// The cause that says what happened; those around it name the address.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
