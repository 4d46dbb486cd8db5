//! Reading foreign JSON: fields that are what they should be, or nothing, and text that is safe to show.
//!
//! The services' fields vary by version, and an optional one of a strange type must not lose a build. So [`Text`],
//! [`Number`], [`Object`] and [`List`] take any JSON: what has another shape counts as missing, and the source decides what it
//! can't do without. Structs of these are read with `#[serde(default)]`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Rejection, Webhook, proof};
use crate::domain::names::{CommitSha, Digest, printable};

/// Longer addresses are not for people.
const LONGEST_URL: usize = 2_000;

/// A string of foreign JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Option<String>);

/// A whole number of foreign JSON, also when it is written as a string or with a fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Number(pub Option<u64>);

/// An object of foreign JSON; one that is missing or null has all fields missing.
#[derive(Debug, Clone, Default)]
pub struct Object<T>(T);

/// A list of foreign JSON; one that is missing or null is empty.
#[derive(Debug, Clone)]
pub struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List(vec![])
    }
}

impl Text {
    /// The text as it was sent, for comparing; `None` if it is missing or empty.
    pub fn raw(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }

    /// Whether it was sent and is exactly this.
    pub fn is(&self, word: &str) -> bool {
        self.raw() == Some(word)
    }

    /// The first line, safe to show, of at most `limit` characters.
    pub fn line(&self, limit: usize) -> Option<String> {
        let first = self.raw()?.trim().split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).next()?;
        let line = printable(first, limit);
        let line = line.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// A branch without what git puts before its name.
    pub fn branch(&self) -> Option<String> {
        let branch = self.line(200)?;
        let short = ["refs/heads/", "refs/tags/", "origin/"].iter().find_map(|prefix| branch.strip_prefix(prefix));
        Some(short.unwrap_or(&branch).to_owned())
    }

    /// An address that people may follow: http or https, without a user's name in it, which serves to deceive.
    pub fn url(&self) -> Option<String> {
        let text = self.raw()?;
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"`\\".contains(&byte);
        if text.len() > LONGEST_URL || !text.bytes().all(plain) {
            return None;
        }
        let uri: http::Uri = text.parse().ok()?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
        (http && host).then(|| text.to_owned())
    }

    /// A commit; what is none counts as missing.
    pub fn commit(&self) -> Option<CommitSha> {
        self.raw()?.to_ascii_lowercase().parse().ok()
    }

    /// A digest; what is none counts as missing.
    pub fn digest(&self) -> Option<Digest> {
        self.raw()?.parse().ok()
    }

    /// A time as RFC 3339 writes it.
    pub fn time(&self) -> Option<Timestamp> {
        self.raw()?.parse().ok()
    }
}

/// The seconds from `start` to `end`, where both are known and in that order.
pub fn seconds_between(start: &Text, end: &Text) -> Option<u64> {
    u64::try_from(end.time()?.as_second() - start.time()?.as_second()).ok()
}

/// The delivery's id that a header gives.
pub fn delivery(webhook: &Webhook<'_>, header: &str) -> Option<String> {
    Text(Some(proof::header(webhook.headers, header)?.to_owned())).line(200)
}

/// The body as JSON of a known shape.
pub fn json<T: DeserializeOwned>(webhook: &Webhook<'_>) -> Result<T, Rejection> {
    serde_json::from_slice(webhook.body).map_err(|error| {
        let kind = proof::header(webhook.headers, "content-type").unwrap_or_default();
        Rejection::Malformed(if kind.starts_with("application/x-www-form-urlencoded") {
            "the body is a form; set the webhook's content type to application/json".to_owned()
        } else {
            printable(&error.to_string(), 300)
        })
    })
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Text(Some(text)),
            _ => Text(None),
        })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        // Above 2^53 a float is no exact count of anything; serde_json also gives integers beyond u64 as floats.
        let exact = |number: &f64| (0.0..=9_007_199_254_740_992.0).contains(number);
        Ok(Number(match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_u64().or_else(|| number.as_f64().filter(exact).map(|number| number as u64)),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }))
    }
}

impl<T> Deref for Object<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// Reads an object or a list without making a tree of it first: they are most of a body.
struct Lenient<T>(PhantomData<T>);

/// What a value of another shape counts as, once it has been read to its end.
macro_rules! else_missing {
    ($($name:ident($type:ty)),*) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        $(fn $name<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(Default::default())
        })*
    };
}

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Lenient<Object<T>> {
    type Value = Object<T>;

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Object<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Object::default())
    }

    else_missing!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Lenient<List<T>> {
    type Value = List<T>;

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut list = vec![];
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<T>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(List::default())
    }

    else_missing!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_any(Lenient::<Object<T>>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        deserializer.deserialize_any(Lenient::<List<T>>(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text(Some(text.to_owned()))
    }

    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Fields {
        text: Text,
        number: Number,
        object: Object<Inner>,
        list: List<Number>,
    }

    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Inner {
        text: Text,
    }

    fn fields(json: &str) -> (Option<String>, Option<u64>, Option<String>, Vec<Option<u64>>) {
        let fields: Fields = serde_json::from_str(json).unwrap();
        let list = fields.list.iter().map(|number| number.0).collect();
        (fields.text.raw().map(str::to_owned), fields.number.0, fields.object.text.raw().map(str::to_owned), list)
    }

    #[test]
    fn any_json_is_a_field() {
        for odd in ["null", "true", "-1", "1e300", "{\"x\":[{}]}", "99999999999999999999999"] {
            let body = format!(r#"{{"text":{odd},"number":{odd},"object":{odd},"list":{odd}}}"#);
            assert_eq!(fields(&body), (None, None, None, vec![]), "{odd}");
        }
        assert_eq!(fields(r#"{"text":[1],"number":[{}],"object":[[1],{}],"list":"x"}"#), (None, None, None, vec![]));
        let found = fields(r#"{"text":"a","number":"42","object":{"text":"b","x":1},"list":[1,null,2.9,18446744073709551615]}"#);
        assert_eq!(found, (Some("a".into()), Some(42), Some("b".into()), vec![Some(1), None, Some(2), Some(u64::MAX)]));
    }

    #[test]
    fn a_line_is_safe_to_show() {
        assert_eq!(text("\n Fix\u{202e}\u{200b} it\u{7}\u{1b}[31m\r\nmore").line(80).as_deref(), Some("Fix it[31m"));
        assert_eq!(text("one\u{2028}two").line(80).as_deref(), Some("one"));
        assert_eq!(text("\u{200b}\u{feff} ").line(80), None);
        assert_eq!(text(&"ä".repeat(5000)).line(200).unwrap().chars().count(), 201);
        assert_eq!(text("origin/main").branch().as_deref(), Some("main"));
        assert_eq!(text("refs/heads/feature/x").branch().as_deref(), Some("feature/x"));
    }

    #[test]
    fn only_plain_web_addresses_are_links() {
        for good in ["https://ci.example.org/job/a/42/", "http://[::1]:8080/x?y=1#z"] {
            assert_eq!(text(good).url().as_deref(), Some(good));
        }
        let long = format!("https://ci.example.org/{}", "a".repeat(LONGEST_URL));
        for bad in [
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://github.com@evil.example",
            "/job/a",
            "https://x/ y",
            "https://x/\u{202e}",
            &long,
            "https://x/`",
            "https://",
            "ftp://x/",
        ] {
            assert_eq!(text(bad).url(), None, "{bad}");
        }
    }
}
