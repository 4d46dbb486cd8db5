//! From a chat line, or the values of a slash command, to an invocation.

use std::sync::Arc;

use super::fill::Filling;
use super::line::{self, Line};
use super::{Catalog, Invocation, Kind, Parsed, Prefix, Runbook, UsageError, Vocabulary};
use crate::nearest::nearest;

impl Catalog {
    /// Reads what a person wrote. Every name in the invocation is one of the vocabulary's.
    pub fn parse(&self, message: &str, prefix: &Prefix, vocabulary: &dyn Vocabulary) -> Parsed {
        let (name, words) = match line::read(message, prefix, |name| self.find(name).is_some()) {
            Line::Talk => return Parsed::NotACommand,
            Line::Refused(what) => return Parsed::Error(UsageError { what, usage: None }),
            Line::Command { name, words } => (name, words),
        };
        let filled = self.runbook(&name, prefix).and_then(|runbook| {
            let mut filling = Filling::new(self, runbook, prefix, vocabulary);
            filling.line(&words)?;
            filling.finish()
        });
        match filled {
            Ok(invocation) => Parsed::Invocation(Box::new(invocation)),
            Err(error) => Parsed::Error(error),
        }
    }

    /// Makes an invocation of values that are known by the names of their arguments, as a slash command has them. A flag
    /// counts as given unless its value is `false`.
    pub fn invoke(
        &self,
        command: &str,
        values: &[(String, String)],
        prefix: &Prefix,
        vocabulary: &dyn Vocabulary,
    ) -> Result<Invocation, UsageError> {
        let mut filling = Filling::new(self, self.runbook(command, prefix)?, prefix, vocabulary);
        for (name, value) in values {
            line::check(value).map_err(|what| filling.error(what))?;
            let place = filling.named(name)?;
            if filling.runbook.arguments[place].kind != Kind::Flag || value != "false" {
                filling.claim(place, value.clone())?;
            }
        }
        filling.finish()
    }

    fn runbook(&self, name: &str, prefix: &Prefix) -> Result<&Arc<Runbook>, UsageError> {
        self.find(name).ok_or_else(|| {
            let hint = match nearest(name, self.names()) {
                Some(near) => format!("; did you mean `{}`?", prefix.typed(near)),
                None => match self.find("help") {
                    Some(help) => format!("; `{}` lists them", prefix.typed(help.name.as_str())),
                    None => String::new(),
                },
            };
            UsageError { what: format!("no command {}{hint}", line::code(name)), usage: None }
        })
    }
}
