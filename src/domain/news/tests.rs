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
        number: None,
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
    assert_eq!(said, News { trend: Trend::TurnedBad { bad: FAILED, last_good: None }, authors: Vec::new(), calls: Vec::new() });
    let said = news(&["1 failed Anna", "2 failed Ben"]);
    let trend = Trend::StillBad { bad: FAILED, count: 2, since: tag(1), last_good: None };
    assert_eq!(said, News { trend, authors: Vec::new(), calls: Vec::new() });
}

#[test]
fn further_failures_count_and_name_all_authors_once() {
    let said = news(&["43 good Zoe", "44 failed Anna", "45 failed Ben", "46 failed Anna"]);
    let trend = Trend::StillBad { bad: FAILED, count: 3, since: tag(44), last_good: Some(tag(43)) };
    assert_eq!(said, News { trend, authors: vec!["Anna".to_owned(), "Ben".to_owned()], calls: Vec::new() });
}

#[test]
fn the_first_good_build_after_failures_is_back_to_normal() {
    let back = |failed, unstable, first, last| Trend::BackToNormal { failed, unstable, first_bad: tag(first), last_bad: tag(last) };
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
    let builds =
        builds(&["41 good A main", "42 failed B main", "43 good C topic", "44 failed D main", "44 good D main", "45 good E topic"]);
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
    assert_eq!(said, News { trend, authors: vec!["B".to_owned(), "C".to_owned()], calls: Vec::new() });
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
