//! The small grammars inside the fleet file's values: paths, sizes, addresses, volumes, status codes.
//!
//! Each takes a text and says what it should be; the reader adds which key, which line and what was written.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::reader::Value;
use crate::domain::spec::Millis;

/// A span of time.
pub(super) fn span(value: Value<'_>) -> Option<Millis> {
    value.check(str::parse)
}

/// A span of time that isn't 0: a deadline, an interval.
pub(super) fn some_time(value: Value<'_>) -> Option<Millis> {
    let span = span(value)?;
    if span.0 == 0 {
        value.problem(format!("`{}` must be longer than 0s", value.key));
    }
    (span.0 > 0).then_some(span)
}

/// A text with something in it, on one line.
pub(super) fn word(value: Value<'_>) -> Option<String> {
    value.check(|text| match text {
        "" => Err("it is empty"),
        _ if text.chars().any(char::is_control) => Err("it has control characters"),
        _ => Ok(text.to_owned()),
    })
}

/// A program and its arguments, or the arguments to an image's entry point: never one text that a shell would take apart.
pub(super) fn command(value: Value<'_>) -> Option<Vec<String>> {
    if value.is_text() {
        value.problem(format!("`{}` is a list of words, such as [\"manage\", \"migrate\"]: no shell takes it apart", value.key));
        return None;
    }
    let words = value.items()?;
    if words.is_empty() {
        value.problem(format!("`{}` is empty", value.key));
    }
    let read: Vec<String> = words.iter().filter_map(|word| word.check(argument)).collect();
    if read.first().is_some_and(String::is_empty) {
        value.problem(format!("`{}` begins with an empty word", value.key));
    }
    Some(read)
}

/// A command as a list of words, or as one text that is taken apart as a shell would, but with nothing filled in.
pub(super) fn command_line(value: Value<'_>) -> Option<Vec<String>> {
    if value.is_list() {
        return command(value);
    }
    value.check(|text| match shlex::split(text) {
        None => Err("a quote in it isn't closed"),
        Some(words) if words.first().is_none_or(String::is_empty) => Err("it is empty"),
        Some(words) => words.iter().map(|word| argument(word)).collect(),
    })
}

/// The items of a list, each once; nothing if one of them is wrong, which was then reported.
pub(super) fn set<'a, T: Ord>(value: Value<'a>, read: impl Fn(Value<'a>) -> Option<T>) -> Option<BTreeSet<T>> {
    let read: Vec<Option<T>> = value.items()?.into_iter().map(read).collect();
    read.into_iter().collect()
}

fn argument(text: &str) -> Result<String, &'static str> {
    if text.contains('\0') { Err("no argument can hold a NUL") } else { Ok(text.to_owned()) }
}

/// The `{placeholders}` of a text: lower-case names in braces. Other braces are just text.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let name = |part: &'_ str| part.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !part.is_empty();
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(part, _)| part).filter(move |part| name(part))
}

/// The name of a variable in the bot's environment.
pub(super) fn variable(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        // Not quoted: it may well be the password itself.
        value.secret_problem(format!(
            "`{}` is the name of a variable in the bot's environment, of A-Z, a-z, 0-9 and `_`; the value itself stands in deploy.env",
            value.key
        ));
    }
    good.then(|| text.to_owned())
}

/// An absolute path on a host.
pub(super) fn path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        Err("it is an absolute path on the host")
    } else if text.chars().any(char::is_control) {
        Err("it has control characters")
    } else {
        Ok(text.to_owned())
    }
}

/// An IP address or a host name, without a port.
pub(super) fn address(text: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
    };
    if text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label)) {
        Ok(text.to_owned())
    } else {
        Err("it is an IP address or a host name, without a port")
    }
}

/// An IP address.
pub(super) fn ip(text: &str) -> Result<String, &'static str> {
    text.parse::<IpAddr>().map(|ip| ip.to_string()).map_err(|_| "it is an IP address such as `127.0.0.1` or `0.0.0.0`")
}

/// A size in bytes: a text such as `512m`, or a number of bytes.
pub(super) fn size(value: Value<'_>) -> Option<u64> {
    if value.is_text() { value.check(size_of) } else { value.whole(1..=u64::MAX >> 1) }
}

fn size_of(text: &str) -> Result<u64, &'static str> {
    const WANTED: &str = "it is a size such as `512m` or `2g`";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(WANTED),
    };
    let number: u64 = number.parse().map_err(|_| WANTED)?;
    number.checked_mul(1 << shift).filter(|bytes| (1..=u64::MAX >> 1).contains(bytes)).ok_or(WANTED)
}

/// `source:target[:options]`, as `docker run -v` takes it, but for paths relative to a working directory, which no host of a fleet has.
pub(super) fn volume(text: &str) -> Result<String, &'static str> {
    let mut parts = text.split(':');
    let (source, target, options) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or("rw"));
    let named = source.len() > 1
        && source.starts_with(|c: char| c.is_ascii_alphanumeric())
        && source.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if text.chars().any(char::is_control) || parts.next().is_some() {
        Err("it is `source:target` or `source:target:ro`")
    } else if !source.starts_with('/') && !named {
        Err("its source is an absolute path on the host, or the name of a volume")
    } else if !target.starts_with('/') {
        Err("its target is an absolute path in the container: `source:target`")
    } else if options.is_empty() || !options.chars().all(|c| c.is_ascii_alphabetic() || c == ',') {
        Err("after the target there may be options such as `ro`")
    } else {
        Ok(text.to_owned())
    }
}

/// The target of a temporary file system: an absolute path in the container, with or without `:options`.
pub(super) fn tmpfs(text: &str) -> Result<String, &'static str> {
    path(text).map_err(|_| "it is an absolute path in the container, with or without options: `/tmp:size=64m`")
}

/// `name:address`, for a container's hosts file.
pub(super) fn extra_host(text: &str) -> Result<String, &'static str> {
    let good = |(name, to): (&str, &str)| {
        address(name).is_ok() && (to == "host-gateway" || to.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
    };
    if text.split_once(':').is_some_and(good) { Ok(text.to_owned()) } else { Err("it is `name:address`, such as `db:10.0.0.7`") }
}

/// A Linux capability: `NET_BIND_SERVICE`.
pub(super) fn capability(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        Ok(text.to_owned())
    } else {
        Err("it is a capability such as `NET_BIND_SERVICE`")
    }
}

/// Status codes of HTTP: `200-399`, `200, 204`, or a list of such texts and numbers.
pub(super) fn status_codes(value: Value<'_>) -> Option<Vec<(u16, u16)>> {
    let items = if value.is_list() { value.items()? } else { vec![value] };
    if items.is_empty() {
        value.problem("`codes` is empty: no answer would be accepted");
    }
    let range = |item: Value<'_>| match item.is_text() {
        true => item.check(code_ranges),
        false => item.whole(100..=599).and_then(|code| u16::try_from(code).ok()).map(|code| vec![(code, code)]),
    };
    Some(items.into_iter().filter_map(range).collect::<Vec<_>>().concat())
}

fn code_ranges(text: &str) -> Result<Vec<(u16, u16)>, &'static str> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        (100 <= low && low <= high && high <= 599).then_some((low, high))
    };
    text.split(',').map(range).collect::<Option<_>>().ok_or("it is status codes from 100 to 599, such as `200-399` or `200, 204`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_docker_s_units() {
        for (text, bytes) in [("512m", 512 << 20), ("2g", 2 << 30), ("64k", 64 << 10), ("100", 100), ("1 GiB", 1 << 30), ("7b", 7)]
        {
            assert_eq!(size_of(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "0", "-1m", "1.5g", "512 q", "99999999999t", "5é"] {
            assert!(size_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_are_absolute_or_named() {
        for text in ["/srv/media:/media", "/srv:/srv:ro", "media:/media", "/a:/b:ro,z"] {
            assert_eq!(volume(text).as_deref(), Ok(text));
        }
        for text in ["", "./media:/media", "media/x:/media", "/srv", "/srv:media", "/a:/b:", "/a:/b:ro:x", "../x:/x", "/a\n:/b"] {
            assert!(volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_no_port() {
        for text in ["127.0.1.1", "::1", "web-1.example.org", "web_1"] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in ["", "web:22", "a..b", "-x", "a b", "user@web"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn status_codes_are_codes_and_ranges() {
        assert_eq!(code_ranges("200-399"), Ok(vec![(200, 399)]));
        assert_eq!(code_ranges("200, 204,300-302"), Ok(vec![(200, 200), (204, 204), (300, 302)]));
        for text in ["", "99", "600", "399-200", "2xx", "200-", "200;204"] {
            assert!(code_ranges(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_lower_case_names_in_braces_are_placeholders() {
        assert_eq!(placeholders("{host}:{ x }{}{address} {").collect::<Vec<_>>(), ["host", "address"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,30}") {
            let _ = (size_of(&text), volume(&text), address(&text), code_ranges(&text), extra_host(&text), placeholders(&text).count());
        }
    }
}
