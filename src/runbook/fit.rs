//! Whether the parts of a runbook fit together.

use std::collections::BTreeSet;

use super::file::Reader;
use super::{Argument, Kind, Work};
use crate::domain::step::{Aim, Step};

impl Reader<'_> {
    /// Whether the arguments are those that the work needs and understands: nothing typed is ever ignored.
    pub fn fit(&mut self, arguments: &[Argument], work: &Work) {
        let (what, needs, takes) = match work {
            Work::Builtin(builtin) => {
                let (needs, more) = builtin.arguments();
                (format!("the action `{}`", builtin.word()), needs.to_vec(), more.to_vec())
            }
            Work::Steps { aim, steps } => {
                let mut needs = vec![Kind::App];
                let mut takes = vec![Kind::Environment, Kind::Role, Kind::Flag, Kind::Word];
                if steps.contains(&Step::Run {}) {
                    needs.push(Kind::Words);
                }
                if *aim != Aim::Current {
                    takes.push(Kind::Tag);
                }
                ("a runbook with these steps".to_owned(), needs, takes)
            }
        };
        for kind in &needs {
            if !arguments.iter().any(|argument| argument.kind == *kind && !argument.optional) {
                self.note(None, format!("{what} needs an argument of type `{}` that isn't optional", kind.word()));
            }
        }
        for argument in arguments.iter().filter(|argument| !needs.contains(&argument.kind) && !takes.contains(&argument.kind)) {
            self.note(None, format!("{what} has no use for `{}`, an argument of type `{}`", argument.name, argument.kind.word()));
        }
    }

    /// Whether the arguments can be told apart on a line.
    pub fn order(&mut self, arguments: &[Argument]) {
        let mut names = BTreeSet::new();
        let mut kinds = BTreeSet::new();
        for (place, argument) in arguments.iter().enumerate() {
            if !names.insert(&argument.name) {
                self.note(None, format!("two arguments are called `{}`", argument.name));
            } else if argument.kind != Kind::Flag && !kinds.insert(argument.kind) {
                self.note(None, format!("two arguments are of type `{}`", argument.kind.word()));
            }
            let after = &arguments[place + 1..];
            if argument.kind.is_rest() && !after.is_empty() {
                self.note(None, format!("`{}` takes the rest of the line, so it has to be the last argument", argument.name));
            }
            if matches!(argument.kind, Kind::Environment | Kind::Role) && !arguments[..place].iter().any(|a| a.kind == Kind::App) {
                self.note(None, format!("`{}` needs an argument of type `app` before it", argument.name));
            }
        }
    }
}
