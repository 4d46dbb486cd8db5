//! `shipmate policy test`: what the fleet file and the commands let people do, held to a file of expected answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use super::{failed, wiring};
use crate::bot::access::{self, Subject};
use crate::bot::views::{self, Difference, Verdict};
use crate::chat::text;
use crate::domain::message::Account;
use crate::domain::policy::Standing;
use crate::domain::spec::EnvironmentSpec;
use crate::fleet::{Asker, Expectation, Fleet, expectations};
use crate::problem::{Problem, Problems};
use crate::runbook::{Catalog, Kind, Runbook};
use crate::settings::Settings;

pub(super) fn test(env_file: Option<&Path>, file: &Path) -> ExitCode {
    let (fleet, commands) = Settings::files(env_file);
    let (fleet, catalog, problems) = wiring::files(&fleet, commands.as_deref());
    let (Some(fleet), Some(catalog)) = (fleet, catalog) else {
        return failed(&problems.join("\n"));
    };
    let expected = match read(file, &fleet, &catalog) {
        Ok(expected) => expected,
        Err(problems) => return failed(&problems),
    };
    let cases = match cases(file, &fleet, &catalog, &expected) {
        Ok(cases) => cases,
        Err(problems) => return failed(&problems),
    };
    let differences: Vec<Difference> = cases.iter().filter_map(|case| case.differs(&fleet)).collect();
    if !differences.is_empty() {
        for line in text::lines(&views::differences(&file.display().to_string(), &differences), "", None) {
            println!("{}", line.text);
        }
    }
    println!("{}", views::tally(cases.len() - differences.len(), differences.len()));
    if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(file: &Path, fleet: &Fleet, catalog: &Catalog) -> Result<Vec<Expectation>, Problems> {
    let place = file.display().to_string();
    let source = fs::read_to_string(file).map_err(|error| Problem::new(&place, format!("it can't be read: {error}")))?;
    let commands: Vec<&str> = catalog.runbooks().map(|runbook| runbook.name.as_str()).collect();
    expectations(&place, &source, fleet, &commands)
}

/// An expected answer with all that decides it.
struct Case<'a> {
    expected: &'a Expectation,
    runbook: &'a Runbook,
    standing: Standing,
    /// Where it is about; `None` = nowhere.
    spec: Option<&'a EnvironmentSpec>,
}

/// The cases that the file is about, or why it can't be told what some of them are about.
fn cases<'a>(file: &Path, fleet: &'a Fleet, catalog: &'a Catalog, expected: &'a [Expectation]) -> Result<Vec<Case<'a>>, Problems> {
    let mut cases = Vec::new();
    let mut problems = Vec::new();
    for expected in expected {
        match Case::new(fleet, catalog, expected) {
            Ok(case) => cases.push(case),
            Err(problem) => problems.push(Problem::new(file.display().to_string(), problem).at_line(expected.line)),
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(Problems(problems)) }
}

impl<'a> Case<'a> {
    fn new(fleet: &'a Fleet, catalog: &'a Catalog, expected: &'a Expectation) -> Result<Case<'a>, String> {
        let Some(runbook) = catalog.get(&expected.command) else {
            return Err(format!("there is no command `{}`", expected.command));
        };
        let needs_app = runbook.arguments.iter().any(|argument| argument.kind == Kind::App && !argument.optional);
        let spec = match &expected.app {
            Some(app) => Some(fleet.environment(app, expected.environment.as_ref()).map_err(|error| error.to_string())?),
            None if needs_app => return Err(format!("`app` is missing: `{}` is about one", runbook.name)),
            None => None,
        };
        Ok(Case { expected, runbook, standing: standing(fleet, &expected.asker), spec })
    }

    /// What is otherwise than expected, if anything is.
    fn differs(&self, fleet: &Fleet) -> Option<Difference> {
        let place = self.spec.map(|spec| (&spec.app, &spec.environment));
        let subject = Subject::of(fleet, self.runbook, place.map(|(app, _)| app), place.map(|(_, environment)| environment));
        let decision = access::decision(fleet, &self.standing, self.runbook, &subject);
        let votes = self.spec.and_then(|spec| access::votes_for(self.runbook, &spec.policy));
        let freeze = self.spec.zip(self.expected.at).and_then(|(spec, at)| access::freeze_for(self.runbook, &spec.policy, at));
        let approvals = votes.map_or(0, |votes| votes.votes);
        let expected = Verdict { allowed: self.expected.allowed, approvals: self.expected.approvals };
        let found = Verdict { allowed: decision.allowed && freeze.is_none(), approvals: expected.approvals.map(|_| approvals) };
        let frozen = freeze.filter(|_| decision.allowed).map(|(freeze, until)| views::frozen(freeze, until));
        let takes = (found.approvals != expected.approvals).then(|| views::takes(votes));
        let why = [Some(frozen.unwrap_or_else(|| views::reason(&decision))), takes].into_iter().flatten().collect::<Vec<_>>();
        let who = match &self.expected.asker {
            Asker::Person(person) => person.to_string(),
            Asker::Account { account, .. } => account.to_string(),
        };
        let difference = Difference { line: self.expected.line, who, subject, expected, found, why: why.join("; ") };
        Some(difference).filter(|_| expected != found)
    }
}

fn standing(fleet: &Fleet, asker: &Asker) -> Standing {
    match asker {
        Asker::Person(name) => match fleet.people.get(name) {
            Some(person) => access::standing_of_person(fleet, name, person.groups.clone()),
            None => access::standing_of(fleet, &Account(name.to_string()), &BTreeSet::new()),
        },
        Asker::Account { account, roles } => access::standing_of(fleet, account, roles),
    }
}
