//! What is new about an outcome: whether good turned bad, stays bad, or is back to normal, as the mails of CI servers tell it; for
//! builds and for deployments alike.
//!
//! It follows from what came before alone, so that it is the same news whenever it is told. The surprising choice: a good build no
//! longer counts once its tag was built badly. A registry announces an image before the tests that run in it fail, and "the first
//! failure after build-44" must not be said of build-44.

use std::collections::BTreeSet;

use super::build::{Build, BuildOutcome};
use super::names::{CommitSha, DeploymentId, PersonName, Tag};

/// What an outcome says of the thing that it is the outcome of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is well.
    Good,
    /// It isn't.
    Bad(Bad),
    /// Nothing: a person stopped it, it isn't over, or it wasn't about that.
    Neither,
}

/// The two ways to be bad, which are never counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Its tests are not all green.
    Unstable,
    /// It failed.
    Failed,
}

/// Where an outcome stands among those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trend<T> {
    /// Nothing changed, or nothing is known.
    Usual,
    /// It is bad in this way for the first time since the last good one: a regression, if there was one.
    TurnedBad {
        /// In which way.
        bad: Bad,
        /// The last good one, as far back as was looked.
        last_good: Option<T>,
    },
    /// It is bad in the same way as others since the last good one.
    StillBad {
        /// In which way.
        bad: Bad,
        /// How many there are, this one among them.
        count: usize,
        /// The first of them.
        since: T,
        /// The last good one, as far back as was looked.
        last_good: Option<T>,
    },
    /// It is good, and the ones before it were not.
    BackToNormal {
        /// How many of them failed.
        failed: usize,
        /// How many of them were unstable.
        unstable: usize,
        /// The first of them.
        first_bad: T,
        /// The last of them; if it was one only, the first.
        last_bad: T,
    },
}

/// What is new about an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News<T> {
    /// Where it stands among those before it.
    pub trend: Trend<T>,
    /// For one that is bad: who made the commits since it was good, the first commit's author first. Foreign text.
    pub authors: Vec<String>,
    /// Those of them who are called.
    pub calls: Vec<PersonName>,
}

impl<T> News<T> {
    /// Nothing worth a word.
    pub fn usual() -> News<T> {
        News { trend: Trend::Usual, authors: Vec::new(), calls: Vec::new() }
    }

    /// The same, with the authors who are people that Shipmate knows called: `@anna`. A commit's author is a person when the name is the
    /// person's, however its letters are cased; whoever else claims to have written a commit can't have anybody called.
    pub fn calling<'a>(mut self, people: impl IntoIterator<Item = &'a PersonName> + Clone) -> News<T> {
        for author in &mut self.authors {
            if let Some(person) = people.clone().into_iter().find(|person| person.as_str().eq_ignore_ascii_case(author)) {
                *author = format!("@{person}");
                self.calls.push(person.clone());
            }
        }
        self
    }
}

/// Where an outcome stands among the `earlier` ones, the newest first.
pub fn trend<T: Clone>(now: Verdict, earlier: impl IntoIterator<Item = (T, Verdict)>) -> Trend<T> {
    let (mut run, mut last_good) = (Vec::new(), None);
    for (what, verdict) in earlier {
        match verdict {
            Verdict::Neither => {}
            Verdict::Bad(bad) => run.push((what, bad)),
            Verdict::Good => {
                last_good = Some(what);
                break;
            }
        }
    }
    match now {
        Verdict::Neither => Trend::Usual,
        Verdict::Good => back_to_normal(&run),
        Verdict::Bad(bad) => {
            let mut alike: Vec<T> = run.into_iter().filter(|(_, other)| *other == bad).map(|(what, _)| what).collect();
            let count = alike.len() + 1;
            match alike.pop() {
                Some(since) => Trend::StillBad { bad, count, since, last_good },
                None => Trend::TurnedBad { bad, last_good },
            }
        }
    }
}

/// The trend of a good one after a `run` of bad ones, the newest first.
fn back_to_normal<T: Clone>(run: &[(T, Bad)]) -> Trend<T> {
    let failed = run.iter().filter(|(_, bad)| *bad == Bad::Failed).count();
    match (run.last(), run.first()) {
        (Some((first, _)), Some((last, _))) => {
            Trend::BackToNormal { failed, unstable: run.len() - failed, first_bad: first.clone(), last_bad: last.clone() }
        }
        (_, None) | (None, _) => Trend::Usual,
    }
}

/// What is new about a build, given the app's `earlier` ones, the newest first, of whatever branch.
pub fn of_build(build: &Build, earlier: &[Build]) -> News<Tag> {
    let line = counted(build, of_branch(build, earlier));
    let trend = trend(verdict(build), line.iter().map(|(build, verdict)| (build.tag.clone(), *verdict)));
    let authors = match &trend {
        Trend::TurnedBad { last_good: Some(_), .. } | Trend::StillBad { last_good: Some(_), .. } => {
            let since = line.iter().take_while(|(_, verdict)| *verdict != Verdict::Good).map(|(build, _)| *build);
            let newest_first: Vec<&Build> = std::iter::once(build).chain(since).collect();
            authors(newest_first)
        }
        Trend::Usual | Trend::TurnedBad { .. } | Trend::StillBad { .. } | Trend::BackToNormal { .. } => Vec::new(),
    };
    News { trend, authors, calls: Vec::new() }
}

/// What is new about a deployment, given the environment's `earlier` ones, the newest first, and the commits that it was to bring, the
/// newest first too (see [`commits`]).
pub fn of_deployment(
    verdict: Verdict,
    earlier: impl IntoIterator<Item = (DeploymentId, Verdict)>,
    commits: &[&Build],
) -> News<DeploymentId> {
    let authors = match verdict {
        Verdict::Bad(_) => authors(commits.iter().copied()),
        Verdict::Good | Verdict::Neither => Vec::new(),
    };
    News { trend: trend(verdict, earlier), authors, calls: Vec::new() }
}

/// Who made the commits of `builds`, the newest of which comes first: each once, the author of the oldest first.
pub fn authors<'a, B>(builds: B) -> Vec<String>
where
    B: IntoIterator<Item = &'a Build>,
    B::IntoIter: DoubleEndedIterator,
{
    let mut authors: Vec<String> = Vec::new();
    for author in builds.into_iter().rev().filter_map(|build| build.author.as_deref()).map(str::trim) {
        if !author.is_empty() && authors.iter().all(|known| known != author) {
            authors.push(author.to_owned());
        }
    }
    authors
}

/// Of an app's builds, the newest first, those after `from` up to `to`, whatever came of them. None if one of the two isn't among them,
/// or `to` isn't the newer one.
pub fn builds_between<'a>(builds: &'a [Build], from: &Tag, to: &Tag) -> &'a [Build] {
    let to = builds.iter().position(|build| build.tag == *to).map_or(&[][..], |place| &builds[place..]);
    to.iter().position(|build| build.tag == *from).map_or(&[], |place| &to[..place])
}

/// Of an app's builds, the newest first, those that bring a commit which `to` has and `from` hasn't: of the branch of `to`, and each
/// commit once, however often it was built.
pub fn commits<'a>(builds: &'a [Build], from: &Tag, to: &Tag) -> Vec<&'a Build> {
    let Some((newest, older)) = builds_between(builds, from, to).split_first() else {
        return Vec::new();
    };
    let mut known: BTreeSet<&CommitSha> = BTreeSet::new();
    let between = std::iter::once(newest).chain(of_branch(newest, older));
    between.filter(|build| build.commit.as_ref().is_none_or(|commit| known.insert(commit))).collect()
}

fn verdict(build: &Build) -> Verdict {
    match build.outcome {
        BuildOutcome::Succeeded => Verdict::Good,
        BuildOutcome::Unstable => Verdict::Bad(Bad::Unstable),
        BuildOutcome::Failed => Verdict::Bad(Bad::Failed),
        BuildOutcome::Cancelled => Verdict::Neither,
    }
}

/// The builds of the same branch. Some sources don't know it: as long as all that do tell the same one, the others are taken to be of it.
fn of_branch<'a>(build: &Build, builds: &'a [Build]) -> Vec<&'a Build> {
    let known: BTreeSet<&str> = std::iter::once(build).chain(builds).filter_map(|build| build.branch.as_deref()).collect();
    let same = |other: &&Build| known.len() < 2 || (build.branch.is_some() && build.branch == other.branch);
    builds.iter().filter(same).collect()
}

/// The builds with what they count as, without the good ones whose tag was built badly since.
fn counted<'a>(build: &Build, earlier: Vec<&'a Build>) -> Vec<(&'a Build, Verdict)> {
    let (mut spoilt, mut counted) = (BTreeSet::new(), Vec::new());
    if let Verdict::Bad(_) = verdict(build) {
        spoilt.insert(build.tag.clone());
    }
    for build in earlier {
        let verdict = verdict(build);
        match verdict {
            Verdict::Good if spoilt.contains(&build.tag) => continue,
            Verdict::Bad(_) => drop(spoilt.insert(build.tag.clone())),
            Verdict::Good | Verdict::Neither => {}
        }
        counted.push((build, verdict));
    }
    counted
}

#[cfg(test)]
mod tests;
