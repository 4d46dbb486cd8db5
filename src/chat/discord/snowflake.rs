//! Discord's numbers say when something was made: <https://docs.discord.com/developers/reference#snowflakes>.

use jiff::Timestamp;
use serenity::all::MessageId;

/// Milliseconds from 1970 to Discord's first.
const EPOCH: i64 = 1_420_070_400_000;

/// The first number that a message of this time can have.
pub(super) fn first_at(time: Timestamp) -> MessageId {
    let milliseconds = u64::try_from(time.as_millisecond() - EPOCH).unwrap_or_default();
    MessageId::new((milliseconds << 22).max(1))
}

/// When a message was written.
pub(super) fn written_at(message: MessageId) -> Timestamp {
    let milliseconds = i64::try_from(message.get() >> 22).unwrap_or_default() + EPOCH;
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
