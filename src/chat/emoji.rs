//! Emojis as people type them: as they are, with a variation selector, or as a word.

use crate::domain::names::printable;

/// Words for emojis that are hard to type.
const EMOJIS: &[(&str, &str)] =
    &[("yes", "✅"), ("white_check_mark", "✅"), ("no", "❌"), ("x", "❌"), ("+1", "👍"), ("-1", "👎"), ("eyes", "👀")];

/// The emoji that a word means, without variation selectors.
///
/// # Errors
/// With what to type instead.
pub(super) fn read(word: &str) -> Result<String, String> {
    let bare: String = word.chars().filter(|c| !('\u{fe00}'..='\u{fe0f}').contains(c)).collect();
    let spoken = EMOJIS.iter().find(|(name, _)| *name == bare.trim_matches(':').to_lowercase());
    let emoji = spoken.map_or(bare.as_str(), |(_, emoji)| emoji);
    if emoji.is_ascii() || emoji.chars().count() > 8 || emoji != printable(emoji, 8) {
        return Err(format!("`{}` is no emoji; `yes` is ✅, `no` is ❌", printable(word, 20)));
    }
    Ok(emoji.to_owned())
}
