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
}

impl<T> News<T> {
    /// Nothing worth a word.
    pub fn usual() -> News<T> {
        News { trend: Trend::Usual, authors: Vec::new() }
    }

    /// The same, with the authors who are people that Shipmate knows called: `@anna`. A commit's author is a person when the name is the
    /// person's, however its letters are cased; whoever else claims to have written a commit can't have anybody called.
    pub fn calling<'a>(mut self, people: impl IntoIterator<Item = &'a PersonName> + Clone) -> News<T> {
        for author in &mut self.authors {
            if let Some(person) = people.clone().into_iter().find(|person| person.as_str().eq_ignore_ascii_case(author)) {
                *author = format!("@{person}");
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
    News { trend, authors }
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
    News { trend: trend(verdict, earlier), authors }
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
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn tag(number: u32) -> Tag {
        format!("build-{number}").parse().unwrap()
    }

    /// `44 failed Anna main`: a build in words; the author and the branch may be left out, `-` is none.
    fn build(text: &str) -> Build {
        let mut words = text.split(' ');
        let number = words.next().unwrap().parse().unwrap();
        let outcome = match words.next().unwrap() {
            "good" => BuildOutcome::Succeeded,
            "unstable" => BuildOutcome::Unstable,
            "failed" => BuildOutcome::Failed,
            "cancelled" => BuildOutcome::Cancelled,
            other => panic!("{other} is no outcome"),
        };
        let mut text = || words.next().filter(|word| *word != "-").map(str::to_owned);
        Build {
            app: "antisocial".parse().unwrap(),
            tag: tag(number),
            outcome,
            digest: None,
            commit: Some(format!("{number:08x}").parse().unwrap()),
            author: text(),
            branch: text(),
            url: None,
            message: None,
            seconds: None,
            source: "jenkins".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The builds, which are told in the order in which they came, the newest first.
    fn builds(texts: &[&str]) -> Vec<Build> {
        texts.iter().rev().map(|text| build(text)).collect()
    }

    /// The news of the last of these builds.
    fn news(texts: &[&str]) -> News<Tag> {
        let builds = builds(texts);
        of_build(&builds[0], &builds[1..])
    }

    const FAILED: Bad = Bad::Failed;

    #[test]
    fn the_first_failure_is_a_regression_with_its_authors() {
        let said = news(&["42 good Eve", "43 good Zoe", "44 cancelled Anna", "45 failed Ben"]);
        assert_eq!(said.trend, Trend::TurnedBad { bad: FAILED, last_good: Some(tag(43)) });
        assert_eq!(said.authors, ["Anna", "Ben"]);
    }

    #[test]
    fn a_failure_before_any_good_build_is_no_regression() {
        let said = news(&["1 failed Anna"]);
        assert_eq!(said, News { trend: Trend::TurnedBad { bad: FAILED, last_good: None }, authors: Vec::new() });
        let said = news(&["1 failed Anna", "2 failed Ben"]);
        let trend = Trend::StillBad { bad: FAILED, count: 2, since: tag(1), last_good: None };
        assert_eq!(said, News { trend, authors: Vec::new() });
    }

    #[test]
    fn further_failures_count_and_name_all_authors_once() {
        let said = news(&["43 good Zoe", "44 failed Anna", "45 failed Ben", "46 failed Anna"]);
        let trend = Trend::StillBad { bad: FAILED, count: 3, since: tag(44), last_good: Some(tag(43)) };
        assert_eq!(said, News { trend, authors: vec!["Anna".to_owned(), "Ben".to_owned()] });
    }

    #[test]
    fn the_first_good_build_after_failures_is_back_to_normal() {
        let back =
            |failed, unstable, first, last| Trend::BackToNormal { failed, unstable, first_bad: tag(first), last_bad: tag(last) };
        assert_eq!(news(&["42 good", "43 failed", "44 failed", "45 good"]).trend, back(2, 0, 43, 44));
        assert_eq!(news(&["42 good", "43 failed", "44 good"]).trend, back(1, 0, 43, 43));
        assert_eq!(news(&["42 unstable", "43 failed", "44 cancelled", "45 good"]).trend, back(1, 1, 42, 43));
        assert_eq!(news(&["42 good", "43 failed", "44 good", "45 good"]), News::usual());
        assert_eq!(news(&["1 good"]), News::usual());
    }

    #[test]
    fn unstable_is_counted_by_itself() {
        let first = Trend::TurnedBad { bad: Bad::Unstable, last_good: Some(tag(42)) };
        assert_eq!(news(&["42 good", "43 unstable"]).trend, first);
        assert_eq!(news(&["42 good", "43 failed", "44 unstable"]).trend, first);
        let still = Trend::StillBad { bad: Bad::Unstable, count: 2, since: tag(43), last_good: Some(tag(42)) };
        assert_eq!(news(&["42 good", "43 unstable", "44 failed", "45 unstable"]).trend, still);
        let failed = Trend::TurnedBad { bad: FAILED, last_good: Some(tag(42)) };
        assert_eq!(news(&["42 good", "43 unstable", "44 failed"]).trend, failed);
    }

    #[test]
    fn a_cancelled_build_is_no_news() {
        assert_eq!(news(&["42 good", "43 failed", "44 cancelled"]), News::usual());
    }

    #[test]
    fn a_good_build_that_was_built_badly_since_no_longer_counts() {
        // The registry has the image before the tests in it fail.
        let said = news(&["43 good", "44 good", "44 failed"]);
        assert_eq!(said.trend, Trend::TurnedBad { bad: FAILED, last_good: Some(tag(43)) });
        let said = news(&["42 good", "43 failed", "44 good", "44 failed"]);
        assert_eq!(said.trend, Trend::StillBad { bad: FAILED, count: 2, since: tag(43), last_good: Some(tag(42)) });
        let said = news(&["43 good", "44 good", "44 failed", "45 good"]);
        assert_eq!(said.trend, Trend::BackToNormal { failed: 1, unstable: 0, first_bad: tag(44), last_bad: tag(44) });
        // The same tag, built again, is well again.
        let said = news(&["43 good", "44 failed", "44 good"]);
        assert_eq!(said.trend, Trend::BackToNormal { failed: 1, unstable: 0, first_bad: tag(44), last_bad: tag(44) });
    }

    #[test]
    fn only_the_same_branch_counts() {
        let said = news(&["42 good Anna main", "43 failed Ben topic", "44 good - topic", "45 failed Carl main"]);
        assert_eq!(said.trend, Trend::TurnedBad { bad: FAILED, last_good: Some(tag(42)) });
        assert_eq!(said.authors, ["Carl"]);
        // Who can tell of which of the two it is.
        assert_eq!(news(&["42 good - main", "43 failed - topic", "44 good"]), News::usual());
        // There is one branch as far as anybody knows.
        let said = news(&["42 good - main", "43 failed - main", "44 good"]);
        assert!(matches!(said.trend, Trend::BackToNormal { failed: 1, .. }), "{said:?}");
    }

    #[test]
    fn what_lies_between_two_builds() {
        let builds = builds(&["41 good", "42 good A", "43 failed B", "43 good C", "44 good D"]);
        let between = |from, to| -> Vec<String> {
            builds_between(&builds, &tag(from), &tag(to)).iter().map(|build| build.author.clone().unwrap()).collect()
        };
        assert_eq!(between(41, 44), ["D", "C", "B", "A"]);
        assert_eq!(between(41, 43), ["C", "B", "A"]);
        assert_eq!(between(43, 44), ["D"]);
        for (from, to) in [(44, 44), (44, 41), (40, 44), (41, 45)] {
            assert_eq!(between(from, to), [""; 0], "{from} to {to}");
        }
    }

    #[test]
    fn commits_are_those_of_the_branch_each_once() {
        let builds = builds(&[
            "41 good A main",
            "42 failed B main",
            "43 good C topic",
            "44 failed D main",
            "44 good D main",
            "45 good E topic",
        ]);
        let commits = commits(&builds, &tag(41), &tag(44));
        let shown: Vec<(&Tag, BuildOutcome)> = commits.iter().map(|build| (&build.tag, build.outcome)).collect();
        assert_eq!(shown, [(&tag(44), BuildOutcome::Succeeded), (&tag(42), BuildOutcome::Failed)]);
        assert_eq!(authors(commits), ["B", "D"]);
    }

    #[test]
    fn a_failed_deployment_names_the_authors_of_what_it_was_to_bring() {
        let builds = builds(&["41 good A", "42 good B", "43 good C"]);
        let new = commits(&builds, &tag(41), &tag(43));
        let earlier = || [(DeploymentId(2), Verdict::Neither), (DeploymentId(1), Verdict::Good)];
        let said = of_deployment(Verdict::Bad(FAILED), earlier(), &new);
        let trend = Trend::TurnedBad { bad: FAILED, last_good: Some(DeploymentId(1)) };
        assert_eq!(said, News { trend, authors: vec!["B".to_owned(), "C".to_owned()] });
        assert_eq!(of_deployment(Verdict::Good, earlier(), &new), News::usual());
        assert_eq!(of_deployment(Verdict::Neither, [(DeploymentId(1), Verdict::Bad(FAILED))], &new), News::usual());
    }

    #[test]
    fn blank_authors_are_nobody() {
        let mut builds = builds(&["41 good A", "42 failed B", "43 failed A"]);
        builds[1].author = Some(" \t".to_owned());
        builds[0].author = Some(" A ".to_owned());
        assert_eq!(authors(&builds), ["A"]);
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        let verdicts = [Verdict::Good, Verdict::Bad(Bad::Unstable), Verdict::Bad(FAILED), Verdict::Neither];
        prop::sample::select(verdicts.to_vec())
    }

    proptest! {
        /// However much is known of the time before, nothing older than the last good one changes the news.
        #[test]
        fn nothing_older_than_the_last_good_one_matters(
            now in any_verdict(),
            run in proptest::collection::vec(any_verdict(), 0..6),
            older in proptest::collection::vec(any_verdict(), 0..6),
        ) {
            let run: Vec<(usize, Verdict)> = run.into_iter().chain([Verdict::Good]).enumerate().collect();
            let older = older.into_iter().map(|verdict| (99, verdict));
            prop_assert_eq!(trend(now, run.iter().copied().chain(older)), trend(now, run.iter().copied()));
        }

        /// Whoever follows a branch is told of each turn once: what turned bad goes back to normal before it turns bad again.
        #[test]
        fn bad_and_normal_take_turns(verdicts in proptest::collection::vec(any_verdict(), 1..20)) {
            let mut bad = false;
            for place in 0..verdicts.len() {
                let earlier = verdicts[..place].iter().copied().enumerate().rev();
                match trend(verdicts[place], earlier) {
                    Trend::Usual => prop_assert!(verdicts[place] == Verdict::Neither || !bad),
                    Trend::TurnedBad { .. } => bad = true,
                    Trend::StillBad { count, .. } => prop_assert!(bad && count > 1),
                    Trend::BackToNormal { failed, unstable, .. } => {
                        prop_assert!(bad && failed + unstable > 0);
                        bad = false;
                    }
                }
            }
        }
    }
}
