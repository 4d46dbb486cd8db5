//! The news of builds and deployments, from the facts to the sentence.

use shipmate::bot::{news, views};
use shipmate::chat::{Block, Reply};
use shipmate::domain::build::{Build, BuildOutcome};
use shipmate::domain::names::DeploymentId;
use shipmate::domain::plan::Purpose;
use shipmate::runbook::Prefix;
use shipmate::store::{Appended, Ledger};

use crate::store::fixture::*;

/// `44 failed Anna`: announces a build, and gives the number of the fact.
async fn announce(ledger: &Ledger, text: &str) -> u64 {
    let mut words = text.split(' ');
    let number = words.next().unwrap().parse().unwrap();
    let outcome = match words.next().unwrap() {
        "good" => BuildOutcome::Succeeded,
        "unstable" => BuildOutcome::Unstable,
        "failed" => BuildOutcome::Failed,
        other => panic!("{other} is no outcome"),
    };
    let build = Build { outcome, author: words.next().map(str::to_owned), branch: Some("main".into()), ..build(number) };
    match ledger.built(build, vec![text.into()], at(0)).await.unwrap() {
        Appended::New { seq } => seq,
        other => panic!("{other:?}"),
    }
}

/// The title of the announcement that a fact makes.
fn title(ledger: &Ledger, seq: u64) -> String {
    let build = ledger.build_at(seq).unwrap().unwrap();
    views::announcement(&build, &news::of_build(ledger, seq, &build).unwrap(), &Prefix::default()).title
}

fn closing(ledger: &Ledger, id: DeploymentId) -> Reply {
    let state = ledger.state(id).unwrap().unwrap();
    let news = news::of_deployment(ledger, id, &state).unwrap();
    views::closing(id, &state, Some(&news), &Prefix::default())
}

/// The last line of a deployment's closing message, if it has more than a title.
fn last_line(ledger: &Ledger, id: DeploymentId) -> Option<String> {
    let mut lines = closing(ledger, id).body.into_iter().filter_map(|block| match block {
        Block::Line(line) => Some(line),
        Block::Offers(_) | Block::Calls(_) | Block::Links(_) => None,
        other => panic!("{other:?}"),
    });
    lines.next_back()
}

#[tokio::test]
async fn builds_are_announced_with_what_is_new_about_them() {
    let ledger = Ledger::in_memory();
    let mut said = Vec::new();
    for text in [
        "42 good Zoe",
        "43 failed Anna",
        "44 failed Ben",
        "45 good Anna",
        "46 good Anna",
        "47 unstable Ben",
        "48 unstable Zoe",
        "49 failed Anna",
        "50 good Anna",
    ] {
        said.push(announce(&ledger, text).await);
    }
    let titles: Vec<String> = said.iter().map(|seq| title(&ledger, *seq)).collect();
    assert_eq!(
        titles,
        [
            "build-42 of blog is ready",
            "build-43 of blog failed: the first failure after build-42; since then: Anna",
            "build-44 of blog failed: still failing since build-43 (2 failures), the last good one was build-42; since then: Anna, Ben",
            "build-45 of blog is ready: back to normal after 2 failures (build-43, build-44)",
            "build-46 of blog is ready",
            "build-47 of blog is unstable: its tests are not all green, for the first time after build-46; since then: Ben",
            "build-48 of blog is unstable: its tests are not all green, still so since build-47 (2 unstable builds), \
             the last good one was build-46; since then: Ben, Zoe",
            "build-49 of blog failed: the first failure after build-46; since then: Ben, Zoe, Anna",
            "build-50 of blog is ready: back to normal after 1 failure and 2 unstable builds (build-47 to build-49)",
        ]
    );
}

#[tokio::test]
async fn an_announcement_says_the_same_whatever_came_later() {
    let ledger = Ledger::in_memory();
    announce(&ledger, "42 good Zoe").await;
    let failed = announce(&ledger, "43 failed Anna").await;
    let reply = |seq| {
        let build = ledger.build_at(seq).unwrap().unwrap();
        views::announcement(&build, &news::of_build(&ledger, seq, &build).unwrap(), &Prefix::default())
    };
    let then = reply(failed);
    // The digest of the one before, and a commit for this one, and more builds, also of an old tag.
    let more = Build { digest: Some(release(42).digest), seconds: None, author: Some("Eve".into()), ..build(42) };
    assert!(matches!(ledger.built(more, vec!["more".into()], at(1)).await.unwrap(), Appended::Merged { .. }));
    announce(&ledger, "42 failed Ben").await;
    announce(&ledger, "44 good Anna").await;
    assert_eq!(reply(failed), then);
}

#[tokio::test]
async fn foreign_names_stay_plain_text() {
    let ledger = Ledger::in_memory();
    announce(&ledger, "42 good Zoe").await;
    let evil =
        Build { outcome: BuildOutcome::Failed, author: Some("`@all`\n\u{202e}x".into()), branch: Some("main".into()), ..build(43) };
    let Appended::New { seq } = ledger.built(evil, vec!["evil".into()], at(0)).await.unwrap() else { panic!() };
    assert_eq!(title(&ledger, seq), "build-43 of blog failed: the first failure after build-42; since then: '@all'x");
}

#[tokio::test]
async fn deployments_close_with_what_is_new_about_them() {
    let ledger = Ledger::in_memory();
    for text in ["41 good Zoe", "42 good Anna", "43 good Ben", "44 good Anna"] {
        announce(&ledger, text).await;
    }
    let first = request(&ledger, deploy(41, None)).await;
    succeed(&ledger, first).await;
    let second = request(&ledger, deploy(43, Some(41))).await;
    undo(&ledger, second).await;
    let restart = request(&ledger, plan(Purpose::Restart, 41, Some(41))).await;
    succeed(&ledger, restart).await;
    let third = request(&ledger, deploy(44, Some(41))).await;
    undo(&ledger, third).await;
    let fourth = request(&ledger, deploy(44, Some(41))).await;
    succeed(&ledger, fourth).await;
    let fifth = request(&ledger, deploy(44, Some(44))).await;
    succeed(&ledger, fifth).await;
    let said = |id| last_line(&ledger, id);
    assert_eq!(said(first), None);
    assert_eq!(said(second).unwrap(), "the first failure after #1; new since build-41: Anna, Ben");
    assert_eq!(said(restart), None);
    assert_eq!(
        said(third).unwrap(),
        "still failing since #2 (2 failures), the last good one was #1; new since build-41: Anna, Ben"
    );
    assert_eq!(said(fourth).unwrap(), "back to normal after 2 failures (#2, #4)");
    assert_eq!(said(fifth), None);
}

#[tokio::test]
async fn a_stuck_deployment_that_is_mended_is_back_to_normal() {
    let ledger = Ledger::in_memory();
    let first = request(&ledger, deploy(41, None)).await;
    stick(&ledger, first).await;
    let second = request(&ledger, deploy(41, None)).await;
    succeed(&ledger, second).await;
    assert_eq!(last_line(&ledger, second).unwrap(), "back to normal after 1 failure (#1)");
    // The stuck one says what it said: that it was mended came later.
    assert!(last_line(&ledger, first).unwrap().contains("leaves everything as it is"));
}

#[tokio::test]
async fn builds_that_came_during_a_deployment_are_not_its_news() {
    let ledger = Ledger::in_memory();
    announce(&ledger, "41 good Zoe").await;
    announce(&ledger, "42 good Anna").await;
    let id = request(&ledger, deploy(42, Some(41))).await;
    undo(&ledger, id).await;
    let then = closing(&ledger, id);
    let later = Build { at: at(9), author: Some("Eve".into()), branch: Some("main".into()), ..build(42) };
    ledger.built(later, vec!["later".into()], at(9)).await.unwrap();
    assert_eq!(closing(&ledger, id), then);
    assert_eq!(last_line(&ledger, id).unwrap(), "new since build-41: Anna");
}
