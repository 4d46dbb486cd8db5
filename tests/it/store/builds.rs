//! Builds: announced once, completed by a second source, found again.

use shipmate::domain::build::{Build, BuildNumber, BuildOutcome};
use shipmate::domain::notice::Notice;
use shipmate::domain::plan::Purpose;
use shipmate::store::{Appended, Ledger, Post, Told};

use super::fixture::*;

async fn announce(ledger: &Ledger, build: Build, key: &str) -> Appended {
    ledger.built(build, vec![key.into()], at(0)).await.unwrap()
}

#[tokio::test]
async fn the_same_announcement_is_known_by_any_of_its_keys() {
    let ledger = Ledger::in_memory();
    let first = ledger.built(build(1), vec!["delivery:1".into(), "said".into()], at(0)).await.unwrap();
    let Appended::New { seq } = first else { panic!("{first:?}") };
    for keys in [vec!["delivery:2", "said"], vec!["delivery:1"]] {
        let again = ledger.built(build(1), keys.into_iter().map(Into::into).collect(), at(0)).await.unwrap();
        assert_eq!(again, Appended::Known { seq });
    }
    assert_eq!((ledger.head().seq, ledger.health().counts.builds), (1, 1));
    // The delivery that was recognised by what it says was not written, so its own key isn't known.
    assert!(matches!(ledger.built(build(1), vec!["delivery:2".into()], at(0)).await.unwrap(), Appended::New { .. }));
}

#[tokio::test]
async fn ten_at_the_same_time_are_announced_once() {
    let ledger = Ledger::in_memory();
    let all = (0..10).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { announce(&ledger, build(1), "same").await })
    });
    let mut new = 0;
    for one in all.collect::<Vec<_>>() {
        new += usize::from(matches!(one.await.unwrap(), Appended::New { .. }));
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn registry_and_ci_tell_of_one_build_in_either_order() {
    let pushed = || Build { digest: Some(release(1).digest), url: None, seconds: None, source: "registry".into(), ..build(1) };
    let built = || Build { commit: Some("0123456789".parse().unwrap()), ..build(1) };
    for order in [[built(), pushed()], [pushed(), built()]] {
        let ledger = Ledger::in_memory();
        ledger.open_room(room(), at(0)).await.unwrap();
        let [first, second] = order;
        assert_eq!(announce(&ledger, first.clone(), "1").await, Appended::New { seq: 2 });
        assert_eq!(announce(&ledger, second, "2").await, Appended::Merged { seq: 3 });
        assert_eq!(ledger.posts_after(&room()).unwrap().len(), 1);
        let whole = ledger.build(&app(), &release(1).tag).unwrap().unwrap();
        assert_eq!((&whole.digest, &whole.commit, &whole.url), (&pushed().digest, &built().commit, &built().url));
        // What it was announced as stays what it was.
        assert_eq!(ledger.build_at(2).unwrap(), Some(first.clone()));
        assert_eq!(ledger.build_at(3).unwrap(), None);
        assert_eq!(ledger.builds_before(&app(), 3, 9).unwrap(), [first]);
        assert_eq!(ledger.builds_before(&app(), 9, 9).unwrap(), [whole]);
        assert_eq!(ledger.builds(&app(), 9).unwrap().len(), 1);
        assert!(matches!(announce(&ledger, built(), "2").await, Appended::Known { .. }));
        // CI ran once more, and the registry got another image under the same tag.
        assert!(matches!(announce(&ledger, built(), "3").await, Appended::New { .. }));
        let other = Build { digest: Some(release(9).digest), ..pushed() };
        assert!(matches!(announce(&ledger, other.clone(), "4").await, Appended::Merged { .. }));
        let third = Build { digest: Some(release(8).digest), ..pushed() };
        assert!(matches!(announce(&ledger, third, "5").await, Appended::New { .. }));
    }
}

#[tokio::test]
async fn the_newest_good_build_is_one_whose_tag_is_good_now() {
    let ledger = Ledger::in_memory();
    assert_eq!(ledger.newest_good_build(&app()).unwrap(), None);
    announce(&ledger, build(1), "1").await;
    announce(&ledger, build(2), "2").await;
    for (number, outcome) in [(3, BuildOutcome::Failed), (4, BuildOutcome::Unstable), (5, BuildOutcome::Cancelled)] {
        announce(&ledger, Build { outcome, ..build(number) }, &number.to_string()).await;
    }
    assert_eq!(ledger.newest_good_build(&app()).unwrap().unwrap().tag, release(2).tag);
    announce(&ledger, Build { outcome: BuildOutcome::Failed, ..build(2) }, "2 again").await;
    assert_eq!(ledger.newest_good_build(&app()).unwrap().unwrap().tag, release(1).tag);
    assert_eq!(ledger.build(&app(), &release(2).tag).unwrap().unwrap().outcome, BuildOutcome::Failed);
    let tags: Vec<String> = ledger.builds(&app(), 3).unwrap().into_iter().map(|build| build.tag.to_string()).collect();
    assert_eq!(tags, ["build-2", "build-5", "build-4"]);
}

fn numbered(number: u64, pipeline: &str) -> Build {
    let counted = BuildNumber { pipeline: pipeline.into(), number };
    Build { number: Some(counted), branch: Some("main".into()), ..build(number) }
}

#[tokio::test]
async fn the_newest_is_the_one_that_was_started_last_as_far_as_numbers_tell() {
    let ledger = Ledger::in_memory();
    let newest = || ledger.newest_good_build(&app()).unwrap().unwrap().tag.to_string();
    let newer = |tag: u64, than: u64| ledger.is_newer_build(&app(), &release(tag).tag, &release(than).tag).unwrap();
    announce(&ledger, numbered(42, "jenkins web"), "42").await;
    announce(&ledger, numbered(41, "jenkins web"), "41").await;
    assert_eq!((newest().as_str(), newer(41, 42), newer(42, 41)), ("build-42", false, true));
    // Another pipeline has numbers of its own.
    announce(&ledger, numbered(7, "jenkins other"), "7").await;
    assert_eq!((newest().as_str(), newer(7, 42), newer(42, 7)), ("build-7", true, false));
    assert!(!newer(8, 7) && !newer(7, 8), "nobody announced 8");
}

#[tokio::test]
async fn a_build_that_comes_after_a_newer_one_is_not_to_be_deployed_by_itself() {
    let ledger = Ledger::in_memory();
    ledger.open_room(room(), at(0)).await.unwrap();
    let production = || plan(Purpose::Deploy, 1, None).environment;
    let follows = |build: Build, key: &str| ledger.built_for(build, vec![key.into()], vec![production()], at(0));
    let Appended::New { seq } = follows(numbered(42, "ci"), "42").await.unwrap() else { panic!() };
    let waits = || ledger.automatic().unwrap().into_iter().map(|(_, _, seq)| seq).collect::<Vec<_>>();
    assert_eq!(waits(), [seq]);
    follows(numbered(41, "ci"), "41").await.unwrap();
    assert_eq!(waits(), [seq]);
    let last = ledger.posts_after(&room()).unwrap().pop().unwrap().1;
    let Post::Told { seq: told } = last else { panic!("{last:?}") };
    let Some((_, Told::Notice { notice, .. })) = ledger.told(told).unwrap() else { panic!() };
    let overtaken = Notice::Overtaken { app: app(), environment: production(), tag: release(41).tag, by: release(42).tag };
    assert_eq!(notice, overtaken);
    // That an older one can't be deployed takes nothing from the newer one.
    let refused = |seq| {
        let (tag, why) = (release(42).tag, "frozen".to_owned());
        Notice::NotAutomatic { app: app(), environment: production(), tag, why, seq: Some(seq) }
    };
    ledger.tell(refused(seq - 1), None, at(0)).await.unwrap();
    assert_eq!(waits(), [seq]);
    ledger.tell(refused(seq), None, at(0)).await.unwrap();
    assert_eq!(waits(), [0; 0]);
    // It is known to be newer all the same.
    follows(numbered(40, "ci"), "40").await.unwrap();
    assert_eq!(waits(), [0; 0]);
    let Appended::New { seq } = follows(numbered(43, "ci"), "43").await.unwrap() else { panic!() };
    assert_eq!(waits(), [seq]);
}

#[tokio::test]
async fn a_build_that_a_registry_told_of_first_is_to_be_deployed_once_its_branch_is_known() {
    let pushed =
        || Build { digest: Some(release(1).digest), url: None, seconds: None, branch: None, source: "registry".into(), ..build(1) };
    for order in [[pushed(), numbered(1, "ci")], [numbered(1, "ci"), pushed()]] {
        let ledger = Ledger::in_memory();
        for (n, build) in order.into_iter().enumerate() {
            let follows = build.branch.iter().map(|_| plan(Purpose::Deploy, 1, None).environment).collect();
            ledger.built_for(build, vec![n.to_string()], follows, at(0)).await.unwrap();
        }
        let waits: Vec<u64> = ledger.automatic().unwrap().into_iter().map(|(_, _, seq)| seq).collect();
        assert_eq!(waits, [1]);
    }
}

#[tokio::test]
async fn builds_before_one_are_those_that_were_known_then() {
    let ledger = Ledger::in_memory();
    for number in 1..=4 {
        announce(&ledger, build(number), &number.to_string()).await;
    }
    announce(&ledger, Build { app: "blog-old".parse().unwrap(), ..build(9) }, "other").await;
    let before = |seq, limit| -> Vec<String> {
        ledger.builds_before(&app(), seq, limit).unwrap().into_iter().map(|build| build.tag.to_string()).collect()
    };
    assert_eq!(before(4, 9), ["build-3", "build-2", "build-1"]);
    assert_eq!(before(4, 2), ["build-3", "build-2"]);
    assert_eq!(before(1, 9), [""; 0]);
    assert_eq!(before(u64::MAX, 1), ["build-4"]);
}

#[tokio::test]
async fn a_build_is_posted_to_rooms_that_are_open() {
    let ledger = Ledger::in_memory();
    announce(&ledger, build(1), "1").await;
    assert_eq!(ledger.posts_after(&room()).unwrap(), []);
    ledger.open_room(room(), at(0)).await.unwrap();
    announce(&ledger, build(2), "2").await;
    let posts = ledger.posts_after(&room()).unwrap();
    assert_eq!(posts.iter().map(|(_, post)| post.clone()).collect::<Vec<_>>(), [Post::Build { seq: 3 }]);
    assert_eq!(ledger.build_at(3).unwrap().unwrap().tag, release(2).tag);
    assert_eq!(ledger.build_at(2).unwrap(), None);
    assert_eq!(ledger.build_at(99).unwrap(), None);
}

#[tokio::test]
async fn builds_with_endless_texts_are_kept_whole() {
    let ledger = Ledger::in_memory();
    let long = Build { message: Some("\u{1}\"x".repeat(30_000)), ..build(1) };
    announce(&ledger, long.clone(), &"key".repeat(10_000)).await;
    assert_eq!(ledger.builds(&app(), 1).unwrap(), [long]);
}
