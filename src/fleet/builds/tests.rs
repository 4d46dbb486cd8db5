use proptest::prelude::*;

use super::*;
use crate::domain::build::BuildOutcome;
use crate::fleet::Fleet;

/// A fleet with the apps `antisocial` and `blog` and these rules.
fn fleet(rules: &str) -> Fleet {
    let role = "{ hosts = [\"h\"], health = { running = \"5s\" } }";
    let app =
        |name: &str| format!("[apps.{name}]\nimage = \"{name}\"\nenvironments.x = {{ roles.web = {role}, tag_folder = false }}\n");
    Fleet::parse("f", &format!("{}{}{rules}", app("antisocial"), app("blog"))).unwrap()
}

/// What such a fleet makes of a notice from Jenkins.
fn matched(rules: &str, notice: Notice) -> Result<String, String> {
    match fleet(rules).build("jenkins", &notice, Timestamp::UNIX_EPOCH) {
        BuildMatch::Build(build) => Ok(format!("{} {}", build.app, build.tag)),
        BuildMatch::NoRule(reason) => Err(format!("no rule: {reason}")),
        BuildMatch::Filtered(reason) => Err(format!("filtered: {reason}")),
        BuildMatch::Invalid(reason) => Err(format!("invalid: {reason}")),
    }
}

fn rule(more: &str) -> String {
    format!("[[builds]]\nsource = \"jenkins\"\n{more}\n")
}

fn notice(project: &str) -> Notice {
    Notice {
        number: Some(42),
        commit: "8f6c1a9e0b".parse().ok(),
        branch: Some("main".to_owned()),
        trigger: Some("push".to_owned()),
        ..Notice::new(project.to_owned(), BuildOutcome::Succeeded)
    }
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn no(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

#[test]
fn tags_are_formed_of_what_the_notice_says() {
    for (tag, formed) in [
        ("build-$number", "build-42"),
        ("$short_commit", "8f6c1a9e"),
        ("sha-${commit:7}", "sha-8f6c1a9"),
        ("${number}_$branch", "42_main"),
        ("$line.$number", "v2.42"),
    ] {
        let rules = rule(&format!("project = '(?<app>\\w+)-(?<line>\\w+)'\ntag = \"{tag}\""));
        assert_eq!(matched(&rules, notice("antisocial-v2")), ok(&format!("antisocial {formed}")));
    }
    let tagged = Notice { tag: Some("1.0".to_owned()), ..notice("blog") };
    assert_eq!(matched(&rule(""), tagged), ok("blog 1.0"));
}

#[test]
fn each_pipeline_counts_its_own_builds() {
    let rule = |source| format!("[[builds]]\nsource = \"{source}\"\napp = \"blog\"\nproject = '.*'\ntag = \"$number\"\n");
    let fleet = fleet(&format!("{}{}", rule("jenkins"), rule("github")));
    let number = |source, notice: Notice| match fleet.build(source, &notice, Timestamp::UNIX_EPOCH) {
        BuildMatch::Build(build) => build.number.map(|number| (number.pipeline, number.number)),
        other => panic!("{other:?}"),
    };
    let counted = |pipeline: &str| Some((pipeline.to_owned(), 42));
    assert_eq!(number("jenkins", notice("team/blog")), counted("jenkins team/blog"));
    let workflow = Notice { workflow: Some("Image".to_owned()), ..notice("team/blog") };
    assert_eq!(number("github", workflow), counted("github team/blog Image"));
}

#[test]
fn a_pattern_has_to_match_the_whole_project() {
    let rules = rule("project = 'blog|shop'\napp = \"blog\"\ntag = \"$number\"");
    assert_eq!(matched(&rules, notice("blog")), ok("blog 42"));
    for project in ["evil/blog", "blog-fork", "shopping", "blog\nx", "Blog", ""] {
        let Err(reason) = matched(&rules, notice(project)) else { panic!("{project}") };
        assert!(reason.starts_with("no rule: no rule of [[builds]] is about the project `"), "{reason}");
    }
}

#[test]
fn a_project_of_no_app_is_told_the_nearest_one() {
    assert_eq!(
        matched(&rule(""), notice("antisocail")),
        no(
            "no rule: the project `antisocail` of jenkins would be the app `antisocail`, which the fleet doesn't have; did you mean `antisocial`?"
        )
    );
    assert_eq!(matched("", notice("blog")), no("no rule: no rule of [[builds]] is about the project `blog` of jenkins"));
}

#[test]
fn what_a_rule_doesnt_want_is_filtered_and_the_next_one_asked() {
    let rules = rule("branch = 'release/.*'\ntag = \"r$number\"\nworkflow = 'Image'\ntriggers = [\"push\"]");
    let release = Notice { branch: Some("release/1".to_owned()), workflow: Some("Image".to_owned()), ..notice("blog") };
    assert_eq!(matched(&rules, release.clone()), ok("blog r42"));
    for (notice, reason) in [
        (notice("blog"), "the rule wants the branch `release/.*`, not `main`"),
        (Notice { branch: None, ..release.clone() }, "the rule wants the branch `release/.*`, and it isn't said"),
        (Notice { workflow: Some("Lint".to_owned()), ..release.clone() }, "the rule wants the workflow `Image`, not `Lint`"),
        (Notice { trigger: Some("cron".to_owned()), ..release.clone() }, "the rule wants the trigger `push`, not `cron`"),
        (Notice { trigger: None, ..release }, "the rule wants the trigger `push`, and it isn't said"),
    ] {
        assert_eq!(matched(&rules, notice.clone()), no(&format!("filtered: the project `blog` of jenkins: {reason}")));
        assert_eq!(matched(&format!("{rules}{}", rule("tag = \"b$number\"")), notice), ok("blog b42"));
    }
}

#[test]
fn proposed_changes_count_only_where_a_rule_says_so() {
    for trigger in ["pull_request", "pull_request_target", "merge_request_event", "external_pull_request_event"] {
        let proposed = || Notice { trigger: Some(trigger.to_owned()), ..notice("blog") };
        let reason = format!(
            "filtered: the project `blog` of jenkins: builds for a `{trigger}` don't count unless the rule's `triggers` say so"
        );
        assert_eq!(matched(&rule("tag = \"$number\""), proposed()), no(&reason));
        assert_eq!(matched(&rule(&format!("tag = \"$number\"\ntriggers = [\"{trigger}\"]")), proposed()), ok("blog 42"));
    }
    assert_eq!(matched(&rule("tag = \"$number\""), Notice { trigger: None, ..notice("blog") }), ok("blog 42"));
}

#[test]
fn a_tag_that_cant_be_is_refused() {
    let of = "invalid: a build of blog by the project `blog` of jenkins: ";
    let number = "its tag needs the number, and it isn't said; change `tag` in [[builds]]";
    assert_eq!(matched(&rule("tag = \"$number\""), Notice { number: None, ..notice("blog") }), no(&format!("{of}{number}")));
    for branch in ["feature/x", "x; touch pwned", "$(x)", "a\nb", "-x", "\u{202e}x"] {
        let Err(reason) = matched(&rule("tag = \"$branch\""), Notice { branch: Some(branch.to_owned()), ..notice("blog") }) else {
            panic!("{branch}")
        };
        assert!(reason.starts_with(&format!("{of}`")) && reason.contains("` is not a tag: use up to 128 of "), "{reason}");
    }
}

#[test]
fn what_is_for_showing_is_cleaned_and_cut() {
    let said = Notice {
        url: Some("javascript:alert(1)".to_owned()),
        author: Some("An\u{202e}na\n".to_owned()),
        message: Some("x".repeat(1000)),
        ..notice("blog")
    };
    let app: AppName = "blog".parse().unwrap();
    let built = build(app.clone(), "1".parse().unwrap(), "jenkins", &said, Timestamp::UNIX_EPOCH);
    assert_eq!((built.url, built.author.as_deref()), (None, Some("Anna")));
    assert_eq!(built.message.map(|message| message.chars().count()), Some(201));
    let said = Notice { url: Some("https://ci.example.org/42".to_owned()), ..said };
    assert!(build(app, "1".parse().unwrap(), "jenkins", &said, Timestamp::UNIX_EPOCH).url.is_some());
}

#[test]
fn generic_needs_no_rule_until_it_has_one() {
    let names = |rules: Vec<BuildRule>| with_default(rules).iter().map(|rule| rule.source.clone()).collect::<Vec<_>>();
    assert_eq!(names(vec![]), ["generic"]);
    assert_eq!(names(with_default(vec![])), ["generic"]);
}

proptest! {
    #[test]
    fn whatever_a_notice_says_the_app_is_of_the_fleet_and_the_tag_is_one(project in ".{0,600}", branch in ".{0,40}", tag in ".{0,140}") {
        let rules = rule("project = '(?<app>[^/]+)(/.*)?'\ntag = \"$branch$tag\"");
        let said = Notice { branch: Some(branch), tag: Some(tag), ..notice(&project) };
        if let Ok(built) = matched(&rules, said) {
            let (app, tag) = built.split_once(' ').unwrap();
            prop_assert!(["antisocial", "blog"].contains(&app) && tag.parse::<Tag>().is_ok());
        }
    }
}
