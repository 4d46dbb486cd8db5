//! One runbook file: TOML to a [`Runbook`], with every problem of the file named by its line.
//!
//! The document is walked by hand instead of being derived by serde: serde stops at the first mistake and knows neither
//! the line of a missing key nor the name that was meant.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Argument, Builtin, Flag, Kind, Runbook, Work};
use crate::domain::names::{CommandName, printable};
use crate::domain::step::{Aim, Step};
use crate::nearest::nearest;
use crate::problem::Problem;

const TOP: &[&str] = &["summary", "group", "action", "aim", "argument", "step"];
const ARGUMENT: &[&str] = &["name", "type", "help", "optional", "by_name"];
const STEP: &[&str] = &["do", "name", "span"];
const AIMS: &[&str] = &["build", "previous", "current"];
const STEPS: &[&str] = &["preflight", "pull", "tasks", "task", "switch", "restart", "run", "record", "wait", "prune"];

/// Longest summary and help: what Discord takes as the description of a slash command and of its options.
const LONGEST: usize = 100;

/// Reads the file `file`, which holds `source`, as the command `name`.
pub(super) fn read(file: &str, name: &str, source: &str) -> Result<Runbook, Vec<Problem>> {
    let mut reader = Reader { file, source, problems: Vec::new() };
    let runbook = reader.runbook(name);
    match runbook {
        Some(runbook) if reader.problems.is_empty() => Ok(runbook),
        _ => Err(reader.problems),
    }
}

type Table<'i> = Spanned<DeValue<'i>>;

/// Reads one file and keeps what is wrong with it.
pub(super) struct Reader<'s> {
    file: &'s str,
    source: &'s str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn runbook(&mut self, name: &str) -> Option<Runbook> {
        let name = self.command_name(name);
        let (document, errors) = DeTable::parse_recoverable(self.source);
        for error in &errors {
            self.note(error.span(), format!("not TOML: {}", error.message()));
        }
        if !errors.is_empty() {
            return None;
        }
        let top = document.get_ref();
        self.only(top, TOP, "a runbook");
        let summary = self.sentence(top, "summary", None);
        let group = match self.text(top, "group") {
            Some((text, span)) => match text.parse() {
                Ok(group) => Some(group),
                Err(error) => self.say(Some(span), error),
            },
            None => None,
        };
        let arguments: Vec<Argument> = self.tables(top, "argument").into_iter().filter_map(|table| self.argument(table)).collect();
        let before = self.problems.len();
        let work = self.work(top);
        // What doesn't fit together is only worth saying when the parts could be read.
        if self.problems.len() == before
            && let Some(work) = &work
        {
            self.fit(&arguments, work);
            if group.is_none() && work.acts() {
                self.note(None, "a command that acts on hosts needs a `group`: who may use it".to_owned());
            }
        }
        self.order(&arguments);
        Some(Runbook { name: name?, summary: summary?, group, arguments, work: work? })
    }

    fn command_name(&mut self, name: &str) -> Option<CommandName> {
        // Slash commands allow no more than this, and talk that begins with a number shall never look like a command.
        let good = name.len() <= 32
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c));
        match name.parse() {
            Ok(name) if good => Some(name),
            _ => self.say(None, "the file's name is the command's: use up to 32 of a-z, 0-9, `-`, `_`, a letter first"),
        }
    }

    fn argument(&mut self, table: &Table<'_>) -> Option<Argument> {
        let fields = table.get_ref().as_table()?;
        self.only(fields, ARGUMENT, "an argument");
        let name = self.required(fields, "name", table.span());
        let kind = self.required(fields, "type", table.span());
        let help = self.sentence(fields, "help", Some(table.span()));
        let optional = self.switch(fields, "optional");
        let by_name = self.switch(fields, "by_name");
        let name = name.and_then(|(name, span)| {
            let good = (1..=32).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            if good {
                Some((name, span))
            } else {
                self.say(Some(span), "an argument's name has up to 32 of a-z, 0-9, `-`, a letter first")
            }
        });
        let kind = kind.and_then(|(word, span)| match Kind::from_word(&word) {
            Some(kind) => Some(kind),
            None => self.unknown(span, "type", &word, Kind::ALL.iter().map(|kind| kind.word())),
        });
        let ((name, span), kind) = (name?, kind?);
        if kind == Kind::Flag && Flag::from_word(&name).is_none() {
            return self.unknown(span, "flag", &name, Flag::ALL.iter().map(|flag| flag.word()));
        }
        if by_name && (kind.is_rest() || kind == Kind::Flag) {
            return self.say(Some(table.span()), format!("`by_name` says nothing about an argument of type `{}`", kind.word()));
        }
        Some(Argument { name, kind, optional: optional || kind == Kind::Flag, by_name, help: help? })
    }

    fn work(&mut self, top: &DeTable<'_>) -> Option<Work> {
        let tables = self.tables(top, "step");
        let aim = self.text(top, "aim");
        match (self.text(top, "action"), aim, tables.is_empty()) {
            (Some((word, span)), None, true) => match Builtin::from_word(&word) {
                Some(builtin) => Some(Work::Builtin(builtin)),
                None => self.unknown(span, "action", &word, Builtin::ALL.iter().map(|builtin| builtin.word())),
            },
            (Some((_, span)), _, _) => self.say(Some(span), "a runbook has either an `action` or an `aim` with steps, not both"),
            (None, None, true) => self.say(None, "nothing to do: give an `action`, or an `aim` and at least one `[[step]]`"),
            (None, Some((_, span)), true) => self.say(Some(span), "an `aim` needs at least one `[[step]]`"),
            (None, aim, false) => {
                let steps: Vec<Option<Step>> = tables.into_iter().map(|table| self.step(table)).collect();
                let aim = match aim {
                    Some((word, span)) => self.aim(&word, span),
                    None => self.say(None, "steps need an `aim`: `build`, `previous` or `current`"),
                };
                Some(Work::Steps { aim: aim?, steps: steps.into_iter().collect::<Option<_>>()? })
            }
        }
    }

    fn aim(&mut self, word: &str, span: Range<usize>) -> Option<Aim> {
        match word {
            "build" => Some(Aim::Build),
            "previous" => Some(Aim::Previous),
            "current" => Some(Aim::Current),
            _ => self.unknown(span, "aim", word, AIMS.iter().copied()),
        }
    }

    fn step(&mut self, table: &Table<'_>) -> Option<Step> {
        let fields = table.get_ref().as_table()?;
        self.only(fields, STEP, "a step");
        let (word, span) = self.required(fields, "do", table.span())?;
        let step = match word.as_str() {
            "preflight" => Step::Preflight {},
            "pull" => Step::Pull {},
            "tasks" => Step::Tasks {},
            "switch" => Step::Switch {},
            "restart" => Step::Restart {},
            "run" => Step::Run {},
            "record" => Step::Record {},
            "prune" => Step::Prune {},
            "task" => {
                let (name, span) = self.required(fields, "name", table.span())?;
                match name.parse() {
                    Ok(name) => Step::Task { name },
                    Err(error) => return self.say(Some(span), error),
                }
            }
            "wait" => {
                let (text, span) = self.required(fields, "span", table.span())?;
                match text.parse() {
                    Ok(wait) => Step::Wait { span: wait },
                    Err(error) => return self.say(Some(span), format!("`span` is wrong: {error}")),
                }
            }
            _ => return self.unknown(span, "step", &word, STEPS.iter().copied()),
        };
        for (key, needs) in [("name", "task"), ("span", "wait")] {
            if word != needs && fields.contains_key(key) {
                self.note(Some(table.span()), format!("only the step `{needs}` has a `{key}`"));
            }
        }
        Some(step)
    }

    /// Notes a problem.
    pub fn note(&mut self, span: Option<Range<usize>>, text: impl ToString) {
        let before = |span: Range<usize>| self.source.get(..span.start).unwrap_or(self.source);
        let line = span.map(|span| 1 + before(span).matches('\n').count());
        let problem = Problem::new(self.file, text.to_string());
        self.problems.push(Problem { line, ..problem });
    }

    /// Notes a problem where a value should have been.
    fn say<T>(&mut self, span: Option<Range<usize>>, text: impl ToString) -> Option<T> {
        self.note(span, text);
        None
    }

    fn unknown<T>(
        &mut self,
        span: Range<usize>,
        what: &str,
        word: &str,
        known: impl Iterator<Item = &'static str> + Clone,
    ) -> Option<T> {
        let hint = match nearest(word, known.clone()) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => format!("; there is {}", known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        };
        self.say(Some(span), format!("unknown {what} `{}`{hint}", printable(word, 40)))
    }

    fn only(&mut self, table: &DeTable<'_>, known: &'static [&'static str], what: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            if TOP.contains(&key.get_ref().as_ref()) {
                self.note(Some(key.span()), format!("`{}` belongs above the first `[[`", key.get_ref()));
            } else {
                self.unknown::<()>(key.span(), &format!("key of {what}"), key.get_ref(), known.iter().copied());
            }
        }
    }

    fn text(&mut self, table: &DeTable<'_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = table.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some((text.to_owned(), value.span())),
            None => self.say(Some(value.span()), format!("`{key}` is a text, in quotes")),
        }
    }

    fn required(&mut self, table: &DeTable<'_>, key: &str, span: Range<usize>) -> Option<(String, Range<usize>)> {
        if !table.contains_key(key) {
            return self.say(Some(span), format!("`{key}` is missing"));
        }
        self.text(table, key)
    }

    fn sentence(&mut self, table: &DeTable<'_>, key: &str, span: Option<Range<usize>>) -> Option<String> {
        if !table.contains_key(key) {
            return self.say(span, format!("`{key}` is missing"));
        }
        let (text, span) = self.text(table, key)?;
        if text.trim().is_empty() || text != printable(&text, LONGEST) {
            return self.say(Some(span), format!("`{key}` is one line of up to {LONGEST} characters"));
        }
        Some(text)
    }

    fn switch(&mut self, table: &DeTable<'_>, key: &str) -> bool {
        let Some(value) = table.get(key) else { return false };
        value.get_ref().as_bool().or_else(|| self.say(Some(value.span()), format!("`{key}` is `true` or `false`"))).unwrap_or(false)
    }

    fn tables<'t, 'i>(&mut self, top: &'t DeTable<'i>, key: &str) -> Vec<&'t Table<'i>> {
        let Some(value) = top.get(key) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(array) if array.iter().all(|item| item.get_ref().is_table()) => array.iter().collect(),
            _ => self.say(Some(value.span()), format!("write each `{key}` as a `[[{key}]]`")).unwrap_or_default(),
        }
    }
}
