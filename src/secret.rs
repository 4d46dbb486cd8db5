//! Secrets, and the one sieve that keeps them out of what people and files see.
//!
//! A [`Secret`] never prints. But a secret also comes back from outside, in the output of a task or the error of an
//! engine; the [`Redactor`] finds it there by value, in the forms in which values travel.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::Regex;
use subtle::ConstantTimeEq;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Values of fewer characters aren't masked: they would be found everywhere.
pub const SHORTEST_MASKED: usize = 4;

/// A password, token or key. Prints as `***`; compare it with [`Secret::matches`] only.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// `None` for an empty text: an empty secret protects nothing, so it can't exist.
    pub fn new(text: impl Into<String>) -> Option<Secret> {
        let text = text.into();
        (!text.is_empty()).then_some(Secret(text))
    }

    /// The secret itself, for the one place that sends or hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret; takes the same time wherever they differ.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Masks the secrets that it has learnt, wherever they stand in a text. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Arc<Known>>>,
}

#[derive(Default)]
struct Known {
    forms: BTreeSet<String>,
    /// How each may stand in a URL.
    urls: Vec<Regex>,
    /// Finds any of the forms in one pass; most texts hold none.
    any: Option<Regex>,
}

impl Redactor {
    /// Learns a value: as it is, each of its lines, and how it looks in JSON, in a URL and in base64.
    pub fn learn(&self, value: &str) {
        self.learn_all([value]);
    }

    /// Learns several values at once, which costs no more than one.
    pub fn learn_all<'a>(&self, values: impl IntoIterator<Item = &'a str>) {
        let mut slot = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut forms = slot.forms.clone();
        for value in values {
            collect_forms(value, &mut forms);
        }
        if forms.len() != slot.forms.len() {
            *slot = Arc::new(Known::new(forms));
        }
    }

    /// `text` without the learnt secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        known.redact(text)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Known {
    fn new(forms: BTreeSet<String>) -> Known {
        let in_urls: Vec<String> = forms.iter().filter_map(|form| in_a_url(form)).collect();
        let pattern = forms.iter().map(|form| regex::escape(form)).chain(in_urls.iter().cloned()).collect::<Vec<_>>().join("|");
        let build = |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(64 << 20).build().ok();
        // Without the pattern (too large to compile) every text takes the slow way; none slips through.
        let any = build(&pattern);
        let urls = in_urls.iter().filter_map(|pattern| build(pattern)).collect();
        Known { forms, urls, any }
    }

    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.forms.is_empty() || self.any.as_ref().is_some_and(|any| !any.is_match(text)) {
            return Cow::Borrowed(text);
        }
        // Forms may lie inside and across each other. Masking one and then looking for the next would leave the rest of
        // the longer one standing, so all places are found first and overlapping ones become one.
        let mut places: Vec<Range<usize>> = Vec::new();
        for form in &self.forms {
            places.extend(text.match_indices(form.as_str()).map(|(at, found)| at..at + found.len()));
        }
        places.extend(self.urls.iter().flat_map(|url| url.find_iter(text).map(|found| found.range())));
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        places.sort_by_key(|place| place.start);
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for place in places {
            if place.start >= end {
                masked.push_str(&text[end..place.start]);
                masked.push_str(MASK);
            }
            end = end.max(place.end);
        }
        masked.push_str(&text[end..]);
        Cow::Owned(masked)
    }
}

fn collect_forms(value: &str, forms: &mut BTreeSet<String>) {
    for part in std::iter::once(value).chain(value.lines()).map(str::trim) {
        if part.chars().count() < SHORTEST_MASKED {
            continue;
        }
        forms.insert(part.to_owned());
        if let Ok(json) = serde_json::to_string(part) {
            forms.insert(json[1..json.len() - 1].to_owned());
        }
        forms.extend(base64_cores(part));
    }
}

/// A pattern for a value in a URL. What programs leave as it is differs (Python a `/`, JavaScript an exclamation mark), so each
/// character may be either. `None` = it looks the same anyway.
fn in_a_url(value: &str) -> Option<String> {
    if value.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let mut pattern = String::new();
    for c in value.chars() {
        let raw = regex::escape(c.encode_utf8(&mut [0; 4]));
        if c.is_ascii_alphanumeric() {
            pattern.push_str(&raw);
            continue;
        }
        let encoded: String = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02x}")).collect();
        let plus = if c == ' ' { "|\\+" } else { "" };
        pattern.push_str(&format!("(?:{raw}|(?i:{encoded}){plus})"));
    }
    Some(pattern)
}

/// What base64 makes of the value wherever it begins in a larger text (`user:password`): the digits that depend on the value alone.
fn base64_cores(text: &str) -> impl Iterator<Item = String> {
    let cores = (0..3).flat_map(move |before| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text.as_bytes());
        let whole = bytes.len() / 3 * 4; // digits that no later byte changes
        let first = (before * 8).div_ceil(6); // digits that an earlier byte changes
        [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
            .into_iter()
            .map(move |digits| digits[first..whole].to_owned())
    });
    cores.filter(|core| core.len() >= SHORTEST_MASKED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn knowing(values: &[&str]) -> Redactor {
        let redactor = Redactor::default();
        redactor.learn_all(values.iter().copied());
        redactor
    }

    #[test]
    fn a_secret_that_contains_another_is_masked_whole() {
        let redactor = knowing(&["hunter", "hunter2-and-more"]);
        assert_eq!(redactor.redact("a hunter2-and-more b hunter c"), "a *** b *** c");
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_behind() {
        assert_eq!(knowing(&["abcdef", "defghi"]).redact("<abcdefghi>"), "<***>");
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(knowing(&["abc", ""]).redact("abc"), "abc");
    }

    #[test]
    fn every_line_of_a_key_is_masked() {
        let redactor = knowing(&["-----BEGIN-----\nMIIEvQ\nIBADAN\n-----END-----"]);
        assert_eq!(redactor.redact("line: IBADAN"), "line: ***");
    }

    #[test]
    fn a_password_is_found_in_a_url_in_json_and_in_an_authorization_header() {
        let redactor = knowing(&["p@ss/w\"rd"]);
        assert_eq!(redactor.redact("amqp://user:p%40ss%2Fw%22rd@host"), "amqp://user:***@host");
        assert_eq!(redactor.redact("amqp://user:p%40ss%2fw%22rd@host"), "amqp://user:***@host");
        assert_eq!(redactor.redact("amqp://user:p%40ss/w%22rd@host"), "amqp://user:***@host");
        assert_eq!(knowing(&["p@ss !w"]).redact("?a=p%40ss+!w&b=p%40ss%20%21w"), "?a=***&b=***");
        assert_eq!(redactor.redact(r#"{"password":"p@ss/w\"rd"}"#), r#"{"password":"***"}"#);
        for user in ["a", "ab", "abc"] {
            let header = STANDARD.encode(format!("{user}:p@ss/w\"rd"));
            assert!(redactor.redact(&header).contains(MASK), "{header}");
        }
    }

    #[test]
    fn clones_share_what_they_learn() {
        let redactor = Redactor::default();
        let clone = redactor.clone();
        redactor.learn("sentinel");
        assert_eq!(clone.redact("a sentinel"), "a ***");
    }

    proptest! {
        #[test]
        fn no_learnt_secret_survives(secrets in prop::collection::vec("[ -)+-~éß]{4,12}", 1..6), noise in "[ -~]{0,8}", order in prop::collection::vec(0usize..6, 0..8)) {
            let redactor = knowing(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
            let text: String = order.iter().map(|at| format!("{}{noise}", secrets[at % secrets.len()])).collect();
            let masked = redactor.redact(&text);
            for secret in secrets.iter().filter(|secret| secret.trim().chars().count() >= SHORTEST_MASKED) {
                prop_assert!(!masked.contains(secret.trim()), "{secret:?} in {masked:?}");
                let encoded = STANDARD.encode(secret.trim());
                prop_assert!(redactor.redact(&encoded).contains(MASK));
            }
        }

        #[test]
        fn no_learnt_secret_survives_in_a_url(secret in "[!-~éß]{4,12}", kept in "[!-~]{0,6}", upper in any::<bool>(), noise in "[a-z/?&=]{0,8}") {
            // Some characters are kept, as each program chooses them; the others are encoded.
            let mut url = String::new();
            for c in secret.chars() {
                let encoded: String = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02x}")).collect();
                let stays = c.is_ascii_alphanumeric() || kept.contains(c);
                url.push_str(&if stays { c.to_string() } else if upper { encoded.to_uppercase() } else { encoded });
            }
            let masked = knowing(&[&secret]).redact(&format!("https://host/{noise}{url}{noise}")).into_owned();
            prop_assert!(!masked.contains(&url), "{url} in {masked}");
            prop_assert!(masked.contains(MASK));
        }

        #[test]
        fn a_text_without_secrets_is_not_copied(text in "[a-z ]{0,40}") {
            prop_assert!(matches!(knowing(&["SENTINEL"]).redact(&text), Cow::Borrowed(_)));
        }
    }
}
