//! A TOML file, read key by key, with every mistake kept and named by its line.
//!
//! The surprising choice: this is not serde. Serde stops at the first mistake and doesn't know which name was meant; here
//! a table is read by asking for its keys, so what is asked for is what is known, and whatever is left over is a mistake.
//! Reading goes on after a mistake, with a fallback; [`Document::finish`] then refuses the whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::domain::names::printable;
use crate::nearest::{listed, nearest};
use crate::problem::{Problem, Problems};

/// The longest part of a line that a problem quotes.
const QUOTED: usize = 120;

/// A parsed file and the mistakes found in it so far.
pub(super) struct Document<'s> {
    place: &'s str,
    source: &'s str,
    root: DeValue<'s>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// What was asked for, by kind of table: the keys that this program knows, and whether the file has them anywhere.
    pub(super) asked: RefCell<BTreeMap<&'static str, BTreeMap<&'static str, bool>>>,
}

impl<'s> Document<'s> {
    /// Parses `source`, which people call `place`.
    ///
    /// # Errors
    /// When it isn't TOML: then nothing in it can be told apart.
    pub(super) fn parse(place: &'s str, source: &'s str) -> Result<Document<'s>, Problems> {
        let (table, errors) = DeTable::parse_recoverable(source);
        let document = Document {
            place,
            source,
            root: DeValue::Table(table.into_inner()),
            problems: RefCell::default(),
            warnings: RefCell::default(),
            asked: RefCell::default(),
        };
        for error in &errors {
            let at = error.span().map_or(source.len(), |span| span.start);
            document.report(at, format!("not TOML: {}", error.message()), true);
        }
        if errors.is_empty() { Ok(document) } else { document.finish(None) }
    }

    /// The whole file as a table.
    pub(super) fn root(&self) -> Value<'_> {
        Value { document: self, key: "", at: 0, raw: &self.root }
    }

    fn value<'a>(&'a self, key: &'a Spanned<DeString<'s>>, raw: &'a Spanned<DeValue<'s>>) -> Value<'a> {
        Value { document: self, key: key.get_ref(), at: key.span().start, raw: raw.get_ref() }
    }

    /// The value at a path of keys.
    pub(super) fn find(&self, path: &[&str]) -> Option<Value<'_>> {
        path.iter().try_fold(self.root(), |value, key| value.entry(key))
    }

    /// What was warned of so far, in the order of the lines.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let mut warnings = self.warnings.borrow().clone();
        warnings.sort_by_key(|warning| warning.line);
        warnings
    }

    /// `read`, if no mistake was found.
    ///
    /// # Errors
    /// All mistakes, in the order of their lines.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems.dedup();
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ => Err(Problems(problems)),
        }
    }

    fn report(&self, at: usize, text: String, quote: bool) {
        self.problems.borrow_mut().push(self.described(at, text, quote));
    }

    fn described(&self, at: usize, text: String, quote: bool) -> Problem {
        let at = at.min(self.source.len());
        let before = self.source.get(..at).unwrap_or(self.source);
        let above = before.matches('\n').count();
        let line = self.source.lines().nth(above).map(|line| printable(line.trim(), QUOTED).trim_end().to_owned());
        let quoted = line.filter(|line| quote && !line.is_empty());
        Problem { place: self.place.to_owned(), line: Some(above + 1), text, quoted }
    }
}

/// A value of the file, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    document: &'a Document<'a>,
    /// The key that it stands at; for an item of a list, the list's.
    pub(super) key: &'a str,
    at: usize,
    raw: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// Reports a mistake at this value.
    pub(super) fn problem(&self, text: impl Into<String>) {
        self.document.report(self.at, text.into(), true);
    }

    /// Reports a mistake without quoting the line: it could show a secret that was written in the wrong place.
    pub(super) fn secret_problem(&self, text: impl Into<String>) {
        self.document.report(self.at, text.into(), false);
    }

    /// Warns of what is no mistake, but most likely not meant.
    pub(super) fn warn(&self, text: impl Into<String>) {
        let warning = self.document.described(self.at, text.into(), true);
        self.document.warnings.borrow_mut().push(warning);
    }

    /// The value of a key, if this is a table that has it; unlike [`Table::get`] it makes the key no known one.
    pub(super) fn entry(&self, key: &str) -> Option<Value<'a>> {
        self.raw.as_table()?.get_key_value(key).map(|(key, raw)| self.document.value(key, raw))
    }

    /// The entries, if this is a table; that it is one was asked elsewhere.
    pub(super) fn children(&self) -> Vec<Value<'a>> {
        let table = self.raw.as_table().into_iter();
        table.flat_map(|table| table.iter()).map(|(key, raw)| self.document.value(key, raw)).collect()
    }

    /// The keys, if this is a table.
    pub(super) fn keys(&self) -> Vec<&'a str> {
        self.children().iter().map(|entry| entry.key).collect()
    }

    /// The value at a path of keys from the top of the file.
    pub(super) fn elsewhere(&self, path: &[&str]) -> Option<Value<'a>> {
        self.document.find(path)
    }

    /// The line, counted from 1.
    pub(super) fn line(&self) -> usize {
        1 + self.document.source.get(..self.at).unwrap_or_default().matches('\n').count()
    }

    /// Reports that it is of another type than `wanted`.
    fn mistyped<T>(&self, wanted: &str) -> Option<T> {
        let given = match self.raw {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("`{}` is {wanted}, not {given}", self.key));
        None
    }

    pub(super) fn is_text(&self) -> bool {
        self.raw.is_str()
    }

    pub(super) fn is_list(&self) -> bool {
        self.raw.is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.raw.is_table()
    }

    /// The truth value, if it is one.
    pub(super) fn as_truth(&self) -> Option<bool> {
        self.raw.as_bool()
    }

    /// A text.
    pub(super) fn text(self) -> Option<&'a str> {
        match self.raw {
            DeValue::String(text) => Some(text),
            _ => self.mistyped("a text in quotes"),
        }
    }

    /// A text that `check` turns into a value, or says what it should be: `` `KEY` = "TEXT": COMPLAINT ``.
    pub(super) fn check<T, E: Display>(self, check: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        match check(text) {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.problem(format!("`{}` can't be \"{}\": {complaint}", self.key, printable(text, 40)));
                None
            }
        }
    }

    /// A text that is a name or another value whose complaint speaks for itself.
    pub(super) fn parse<T: FromStr<Err: Display>>(self) -> Option<T> {
        self.text()?.parse().map_err(|complaint: T::Err| self.problem(complaint.to_string())).ok()
    }

    /// `true` or `false`.
    pub(super) fn truth(self) -> Option<bool> {
        self.raw.as_bool().or_else(|| self.mistyped("true or false"))
    }

    /// A whole number in a range.
    pub(super) fn whole(self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.raw else {
            return self.mistyped("a whole number");
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(match range.end() {
                &u64::MAX => format!("`{}` is a whole number from {}", self.key, range.start()),
                end => format!("`{}` is a whole number from {} to {end}", self.key, range.start()),
            });
        }
        number
    }

    /// A number, with or without a fraction.
    pub(super) fn number(self) -> Option<f64> {
        let number = match self.raw {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number as f64),
            _ => None,
        };
        number.or_else(|| self.mistyped("a number"))
    }

    /// The items of a list.
    pub(super) fn items(self) -> Option<Vec<Value<'a>>> {
        match self.raw {
            DeValue::Array(items) => {
                Some(items.iter().map(|item| Value { at: item.span().start, raw: item.get_ref(), ..self }).collect())
            }
            _ => self.mistyped("a list"),
        }
    }

    /// The items of a list that `read` makes something of.
    pub(super) fn list<T>(self, read: impl Fn(Value<'a>) -> Option<T>) -> Vec<T> {
        self.items().unwrap_or_default().into_iter().filter_map(read).collect()
    }

    /// The entries of a table whose keys are names of the user's choice, each with the place of its key.
    pub(super) fn entries(self) -> Option<Vec<Value<'a>>> {
        match self.raw {
            DeValue::Table(_) => Some(self.children()),
            _ => self.mistyped("a table"),
        }
    }

    /// The entries of a table, by names that `N` checks; `read` makes something of each.
    pub(super) fn named<N: FromStr<Err: Display> + Ord, T>(self, read: impl Fn(&N, Value<'a>) -> Option<T>) -> BTreeMap<N, T> {
        let entry = |value: Value<'a>| {
            let name = value.key.parse::<N>().map_err(|complaint| value.problem(complaint.to_string())).ok()?;
            let read = read(&name, value)?;
            Some((name, read))
        };
        self.entries().unwrap_or_default().into_iter().filter_map(entry).collect()
    }

    /// A table of one kind: `read` asks for its keys; those that it didn't ask for are unknown.
    pub(super) fn table<T>(self, kind: &'static str, read: impl FnOnce(Table<'a>) -> T) -> Option<T> {
        let entries = self.entries()?;
        let read = read(Table { value: self, kind });
        let asked = self.document.asked.borrow();
        let known = asked.get(kind).into_iter().flat_map(BTreeMap::keys).copied();
        for entry in entries {
            if known.clone().any(|key| key == entry.key) {
                continue;
            }
            let hint = match nearest(entry.key, known.clone()) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("known here: {}", listed(known.clone())),
            };
            entry.problem(format!("unknown key `{}`; {hint}", printable(entry.key, 40)));
        }
        Some(read)
    }
}

/// A table with known keys, while it is read.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    value: Value<'a>,
    kind: &'static str,
}

impl<'a> Table<'a> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        let found = self.value.entry(key);
        *self.value.document.asked.borrow_mut().entry(self.kind).or_default().entry(key).or_default() |= found.is_some();
        found
    }

    /// The value of a key that must be there; `advice` says what to write.
    pub(super) fn need(&self, key: &'static str, advice: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.problem(format!("`{key}` is missing: {advice}"));
        }
        value
    }

    /// What `read` makes of a key's value; `fallback` if the key is missing, or wrong, which is then reported.
    pub(super) fn or<T>(&self, key: &'static str, fallback: T, read: impl FnOnce(Value<'a>) -> Option<T>) -> T {
        self.get(key).and_then(read).unwrap_or(fallback)
    }

    /// Reports a mistake of the table as a whole.
    pub(super) fn problem(&self, text: impl Into<String>) {
        self.value.problem(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(source: &str) -> String {
        let document = match Document::parse("f.toml", source) {
            Ok(document) => document,
            Err(problems) => return problems.to_string(),
        };
        document.root().table("top", |table| {
            table.or("health", 0, |value| value.whole(1..=9));
            table.or("hosts", vec![], |value| Some(value.list(Value::text)));
            table.or("cpus", 0.0, Value::number);
        });
        document.finish(Some(())).map_or_else(|problems| problems.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn unknown_keys_are_all_named_each_with_its_line_and_what_was_meant() {
        assert_eq!(
            problems("\nhelth = 1\nhosts = []\n\"evil\\u202E\" = 1  # \u{202e}"),
            "f.toml:2: unknown key `helth`; did you mean `health`?\n    helth = 1\n\
             f.toml:4: unknown key `evil`; known here: `cpus`, `health` and `hosts`\n    \"evil\\u202E\" = 1  #"
        );
    }

    #[test]
    fn values_of_other_types_are_named_too() {
        assert_eq!(
            problems("health = 1.5\nhosts = [\n  \"a\",\n  1979-05-27,\n]\ncpus = true"),
            "f.toml:1: `health` is a whole number, not a number with a fraction\n    health = 1.5\n\
             f.toml:4: `hosts` is a text in quotes, not a date\n    1979-05-27,\n\
             f.toml:6: `cpus` is a number, not true or false\n    cpus = true"
        );
    }

    #[test]
    fn numbers_stay_in_their_range_whatever_their_base() {
        for good in ["health = 9", "health = 0x9", "health = 0b1001", "cpus = 2", "cpus = 1.5"] {
            assert_eq!(problems(good), "good", "{good}");
        }
        for bad in ["0", "10", "-1", "99999999999999999999999"] {
            let source = format!("health = {bad}");
            assert_eq!(problems(&source), format!("f.toml:1: `health` is a whole number from 1 to 9\n    {source}"));
        }
    }

    #[test]
    fn what_is_not_toml_is_told_with_all_its_lines() {
        assert_eq!(
            problems("a = 1\na = 2\nb = \n[c\n"),
            "f.toml:2: not TOML: duplicate key\n    a = 2\n\
             f.toml:3: not TOML: string values must be quoted, expected literal string\n    b =\n\
             f.toml:4: not TOML: unclosed table, expected `]`\n    [c"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(source in "[a-z =\\[\\]{}\"'.,#\\n0-9é-]{0,80}") {
            problems(&source);
        }
    }
}
