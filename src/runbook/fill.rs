//! The words of a line, put to the arguments of a command.
//!
//! Words fill the arguments in the order of the usage. Where optional ones come next, the word goes to the first of them
//! that *knows* it (an app, an environment, a role, a command, a person: names are looked up), else to the first whose *form* it
//! has (a tag, a number), else to the required one after them. So in `!deploy APP [TAG] [ENVIRONMENT]` a word that names
//! an environment of the app is the environment, wherever it stands; a tag of the same name is typed as `--tag NAME`.
//! Each argument can be given so by its name; `--` ends that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use super::line::{self, Word, Words};
use super::{Argument, Catalog, Flag, Invocation, Kind, LONGEST_DAYS, MAX_COUNT, Prefix, Runbook, UsageError, Vocabulary, usage};
use crate::domain::names::{DeploymentId, Tag};
use crate::domain::spec::Millis;
use crate::nearest::nearest;

/// A command whose arguments are being filled.
pub(super) struct Filling<'a> {
    catalog: &'a Catalog,
    pub runbook: &'a Arc<Runbook>,
    prefix: &'a Prefix,
    vocabulary: &'a dyn Vocabulary,
    /// Values given by name, by the place of their argument. They wait until the app is known.
    waiting: BTreeMap<usize, String>,
    /// The places that have their value.
    taken: BTreeSet<usize>,
    given: Invocation,
}

impl<'a> Filling<'a> {
    pub fn new(catalog: &'a Catalog, runbook: &'a Arc<Runbook>, prefix: &'a Prefix, vocabulary: &'a dyn Vocabulary) -> Self {
        let given = Invocation::bare(Arc::clone(runbook));
        Filling { catalog, runbook, prefix, vocabulary, waiting: BTreeMap::new(), taken: BTreeSet::new(), given }
    }

    /// Fills them with the words of a line.
    pub fn line(&mut self, words: &Words) -> Result<(), UsageError> {
        let mut options = true;
        let mut at = 0;
        while let Some(word) = words.list.get(at) {
            at += 1;
            let option = if options && !word.quoted { word.text.strip_prefix("--") } else { None };
            match option {
                Some("") => options = false,
                Some(option) => at += self.option(option, words.list.get(at))?,
                None => {
                    let place = self.place(word)?;
                    self.taken.insert(place);
                    match self.runbook.arguments[place].kind {
                        Kind::Words => {
                            self.given.words = words.list[at - 1..].iter().map(|word| word.text.clone()).collect();
                            return Ok(());
                        }
                        Kind::Text => return self.set(place, words.from(at - 1)),
                        _ => self.set(place, &word.text)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes `--option`; answers how many of the words after it belonged to it.
    fn option(&mut self, option: &str, next: Option<&Word>) -> Result<usize, UsageError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let place = self.named(name)?;
        let argument = &self.runbook.arguments[place];
        match (argument.kind, value, next) {
            (Kind::Flag, None, _) => self.claim(place, String::new()).map(|()| 0),
            (Kind::Flag, Some(_), _) => Err(self.error(format!("`--{}` takes no value", argument.name))),
            (_, Some(value), _) => self.claim(place, value.to_owned()).map(|()| 0),
            (_, None, Some(word)) => self.claim(place, word.text.clone()).map(|()| 1),
            (_, None, None) => Err(self.error(format!("`--{}` needs a value", argument.name))),
        }
    }

    /// The place of the argument with this name, or of the only one of this kind.
    pub fn named(&self, name: &str) -> Result<usize, UsageError> {
        let typed = name.to_lowercase();
        let arguments = &self.runbook.arguments;
        let by_name = arguments.iter().position(|argument| argument.name == typed);
        let by_kind = || arguments.iter().position(|a| a.kind != Kind::Flag && a.kind.word() == typed);
        by_name.or_else(by_kind).ok_or_else(|| {
            let hint = match nearest(&typed, arguments.iter().map(|argument| argument.name.as_str())) {
                Some(near) => format!("; did you mean `--{near}`?"),
                None if arguments.iter().any(|argument| argument.kind == Kind::Words) => {
                    "; put `--` before a command that begins with dashes".to_owned()
                }
                None => String::new(),
            };
            self.error(format!("no option {}{hint}", line::code(&format!("--{name}"))))
        })
    }

    /// Keeps a value for an argument that may have only one.
    pub fn claim(&mut self, place: usize, value: String) -> Result<(), UsageError> {
        if !self.taken.insert(place) {
            return Err(self.error(format!("`{}` is given twice", self.runbook.arguments[place].name)));
        }
        self.waiting.insert(place, value);
        Ok(())
    }

    /// The argument that a word without a name belongs to.
    fn place(&self, word: &Word) -> Result<usize, UsageError> {
        let open = || {
            let places = self.runbook.arguments.iter().enumerate();
            places.filter(|(place, argument)| !argument.by_name && argument.kind != Kind::Flag && !self.taken.contains(place))
        };
        let reach = open().take_while(|(_, argument)| argument.optional).count() + 1;
        let reach: Vec<(usize, &Argument)> = open().take(reach).collect();
        let fits = |(_, argument): &&(usize, &Argument)| match self.known(argument.kind) {
            Some(names) => names.contains(&word.text.to_lowercase()),
            None => false,
        };
        let has_form = |(_, argument): &&(usize, &Argument)| match argument.kind {
            Kind::Tag => word.text.parse::<Tag>().is_ok(),
            Kind::Deployment => word.text.parse::<DeploymentId>().is_ok(),
            Kind::Count => count(&word.text).is_some(),
            Kind::Duration => duration(&word.text).is_some(),
            Kind::Words | Kind::Text | Kind::Word => true,
            Kind::App | Kind::Environment | Kind::Role | Kind::Command | Kind::Person | Kind::Flag => false,
        };
        match (reach.as_slice(), reach.iter().find(fits).or_else(|| reach.iter().find(has_form))) {
            (_, Some((place, _))) => Ok(*place),
            ([], None) => Err(self.error(format!("nothing more is expected at {}", line::code(&word.text)))),
            // One argument only: what is wrong with the word is said when it is set.
            ([(place, _)], None) => Ok(*place),
            (several, None) => Err(self.fits_none(word, several)),
        }
    }

    fn fits_none(&self, word: &Word, arguments: &[(usize, &Argument)]) -> UsageError {
        let looked_up: Vec<&Argument> = arguments.iter().map(|(_, a)| *a).filter(|a| self.known(a.kind).is_some()).collect();
        let names: Vec<String> = looked_up.iter().filter_map(|argument| self.known(argument.kind)).flatten().collect();
        let kinds: Vec<&str> = looked_up.iter().map(|argument| argument.kind.word()).collect();
        let by_form = arguments.iter().find(|(_, argument)| self.known(argument.kind).is_none());
        match by_form {
            Some((_, argument)) if nearest(&word.text, names.iter().map(String::as_str)).is_none() => {
                self.wrong_form(argument.kind, &word.text)
            }
            _ => self.unknown(&kinds.join(" or "), &word.text, &names),
        }
    }

    /// The names that an argument of this kind may have; `None` = a kind that isn't looked up.
    fn known(&self, kind: Kind) -> Option<Vec<String>> {
        let app = self.given.app.as_ref();
        match kind {
            Kind::App => Some(strings(self.vocabulary.apps())),
            Kind::Environment => Some(app.map(|app| strings(self.vocabulary.environments(app))).unwrap_or_default()),
            Kind::Role => Some(app.map(|app| strings(self.vocabulary.roles(app, None))).unwrap_or_default()),
            Kind::Command => Some(self.catalog.names().map(str::to_owned).collect()),
            Kind::Person => Some(strings(self.vocabulary.people())),
            Kind::Tag | Kind::Deployment | Kind::Count | Kind::Duration | Kind::Word | Kind::Words | Kind::Text | Kind::Flag => {
                None
            }
        }
    }

    /// Gives an argument its value.
    fn set(&mut self, place: usize, text: &str) -> Result<(), UsageError> {
        let argument = &self.runbook.arguments[place];
        let kind = argument.kind;
        // `!help !deploy` is as good as `!help deploy`.
        let text = if kind == Kind::Command { text.strip_prefix(self.prefix.as_str()).unwrap_or(text).trim() } else { text };
        let wrong = || self.wrong_form(kind, text);
        match kind {
            Kind::App => self.given.app = Some(self.one_of(self.vocabulary.apps(), kind.word(), text)?),
            Kind::Environment => {
                let app = self.given.app.as_ref().ok_or_else(|| self.no_app())?;
                self.given.environment = Some(self.one_of(self.vocabulary.environments(app), kind.word(), text)?);
            }
            Kind::Role => {
                let app = self.given.app.as_ref().ok_or_else(|| self.no_app())?;
                self.given.role = Some(self.one_of(self.vocabulary.roles(app, None), kind.word(), text)?);
            }
            Kind::Command => {
                let names = self.catalog.runbooks().map(|runbook| runbook.name.clone()).collect();
                self.given.command = Some(self.one_of(names, kind.word(), text)?);
            }
            Kind::Person => self.given.person = Some(self.one_of(self.vocabulary.people(), kind.word(), text)?),
            Kind::Tag => self.given.tag = Some(text.parse().map_err(|_| wrong())?),
            Kind::Deployment => self.given.deployment = Some(text.parse().map_err(|_| wrong())?),
            Kind::Count => self.given.count = Some(count(text).ok_or_else(wrong)?),
            Kind::Duration => self.given.duration = Some(duration(text).ok_or_else(wrong)?),
            Kind::Word => self.given.word = Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Kind::Text => self.given.text = Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Kind::Words => {
                let words = line::split(text).map_err(|what| self.error(what))?;
                self.given.words = words.list.into_iter().map(|word| word.text).collect();
            }
            Kind::Flag => self.given.flags.extend(Flag::from_word(&argument.name)),
        }
        Ok(())
    }

    fn one_of<N: Display>(&self, names: Vec<N>, kind: &str, text: &str) -> Result<N, UsageError> {
        let typed = text.to_lowercase();
        match names.iter().position(|name| name.to_string() == typed) {
            Some(at) => names.into_iter().nth(at).ok_or_else(|| self.unknown(kind, text, &[])),
            None => Err(self.unknown(kind, text, &strings(names))),
        }
    }

    /// The invocation, if nothing is missing.
    pub fn finish(mut self) -> Result<Invocation, UsageError> {
        for (place, value) in std::mem::take(&mut self.waiting) {
            self.set(place, &value)?;
        }
        for (place, argument) in self.runbook.arguments.iter().enumerate().filter(|(_, argument)| !argument.optional) {
            let empty = match argument.kind {
                Kind::Words => self.given.words.first().is_none_or(String::is_empty),
                Kind::Text => self.given.text.is_none(),
                Kind::Word => self.given.word.is_none(),
                _ => false,
            };
            if empty || !self.taken.contains(&place) {
                return Err(self.error(format!("{} is missing", argument.name.to_uppercase())));
            }
        }
        if let (Some(app), Some(environment), Some(role)) = (&self.given.app, &self.given.environment, &self.given.role) {
            let roles = self.vocabulary.roles(app, Some(environment));
            if !roles.contains(role) {
                let what = format!("no role `{role}` in `{environment}`{}", there_is(&strings(roles)));
                return Err(self.error(what));
            }
        }
        Ok(self.given)
    }

    pub fn error(&self, what: impl Display) -> UsageError {
        UsageError { what: what.to_string(), usage: Some(usage(self.runbook, self.prefix)) }
    }

    fn no_app(&self) -> UsageError {
        self.error("name the app first")
    }

    fn unknown(&self, kind: &str, text: &str, names: &[String]) -> UsageError {
        let hint = match nearest(text, names.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => there_is(names),
        };
        self.error(format!("no {kind} {}{hint}", line::code(text)))
    }

    fn wrong_form(&self, kind: Kind, text: &str) -> UsageError {
        let rule = match kind {
            Kind::Tag => "a tag: use up to 128 of A-Z, a-z, 0-9, `_`, `.`, `-`, and neither `.` nor `-` first".to_owned(),
            Kind::Deployment => "a deployment: it is a number such as 42 or #42".to_owned(),
            Kind::Duration => format!("a span of time such as `2h` or `3d`, up to {LONGEST_DAYS} days"),
            _ => format!("a number from 1 to {MAX_COUNT}"),
        };
        self.error(format!("{} is not {rule}", line::code(text)))
    }
}

fn count(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| digits && (1..=MAX_COUNT).contains(count))
}

/// A span of time that isn't 0.
fn duration(text: &str) -> Option<Millis> {
    Millis::up_to(Millis::seconds(LONGEST_DAYS * 24 * 3600), text).ok().filter(|span| !span.is_zero())
}

/// The names as a hint, if there are few.
fn there_is(names: &[String]) -> String {
    if names.is_empty() || names.len() > 8 {
        return String::new();
    }
    format!("; there is {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

fn strings<N: Display>(names: Vec<N>) -> Vec<String> {
    names.iter().map(N::to_string).collect()
}
