//! What a ledger tells, as a text: what stands in the rows of a kept store, and must stand there in every later version.

use shipmate::domain::message::RoomId;
use shipmate::domain::names::{AppName, DeploymentId, Digest};
use shipmate::domain::plan::Release;
use shipmate::store::{Ledger, Post, Summary};

use crate::sample::name;

/// Everything that can be asked of the ledger.
pub fn all(ledger: &Ledger) -> String {
    let mut lines = Vec::new();
    let counts = ledger.health().counts;
    lines.push(format!("head {}", ledger.head().seq));
    lines.push(format!(
        "{} deployments, {} builds, {} messages, {} posts",
        counts.deployments, counts.builds, counts.messages, counts.posts
    ));
    for app in ["antisocial", "blog", "nothing"].map(name::<AppName>) {
        lines.push(format!("\n{app}"));
        lines.extend(of_app(ledger, &app));
    }
    lines.push("\ndeployments".into());
    for number in 1..=counts.deployments {
        lines.push(deployment(ledger, DeploymentId(number)));
    }
    let ids = |ids: Vec<DeploymentId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    lines.push(format!("open {}", ids(ledger.open_deployments().unwrap())));
    lines.push(format!("stuck {}", ids(ledger.stuck().unwrap())));
    lines.push("\ninbox".into());
    for message in ledger.inbox().unwrap() {
        lines.push(format!("{} {} {} {}: {}", message.received, message.at.room, message.at.id, message.author, message.text));
    }
    for room in ["terminal", "discord:1234", "nowhere"].map(|room| RoomId(room.into())) {
        lines.push(format!("\nroom {room}"));
        lines.extend(of_room(ledger, &room));
    }
    lines.join("\n") + "\n"
}

fn of_app(ledger: &Ledger, app: &AppName) -> Vec<String> {
    let mut lines = Vec::new();
    for build in ledger.builds(app, 100).unwrap() {
        let digest = build.digest.as_ref().map_or("without digest", end_of);
        let commit = build.commit.as_ref().map_or("without commit".into(), ToString::to_string);
        lines.push(format!("build {} {} by {}, {digest}, {commit}", build.tag, build.outcome, build.source));
        assert_eq!(ledger.build(app, &build.tag).unwrap(), Some(build));
    }
    let good = ledger.newest_good_build(app).unwrap();
    lines.push(format!("newest good {}", good.map_or("none".into(), |build| build.tag.to_string())));
    for summary in ledger.history(app, None, 100, None).unwrap() {
        lines.push(format!("history {}", line(&summary)));
    }
    for environment in ["production", "staging"].map(name) {
        let lock = ledger.lock(app, &environment).unwrap();
        lines.push(format!("lock of {environment}: {}", lock.map_or("free".into(), |holder| holder.id.to_string())));
        for (target, record) in ledger.records(app, &environment).unwrap() {
            let revert = record.revert.as_ref().map_or("nothing".into(), shown);
            let current = shown(&record.current);
            lines.push(format!("{environment} {target} runs {current}, before {revert}, since {} by {}", record.since, record.by));
        }
    }
    lines
}

fn line(summary: &Summary) -> String {
    let from = summary.from.as_ref().map_or("nothing".into(), shown);
    let ended = summary.ended_at.map_or("goes on".into(), |at| at.to_string());
    let tasks: Vec<String> = summary.irreversible.iter().map(ToString::to_string).collect();
    format!(
        "{} {} {} {} {from} -> {} by {} {} {ended} {}, cause: {}, irreversible: {}, mended by: {}",
        summary.id,
        summary.app,
        summary.environment,
        summary.purpose.word(),
        shown(&summary.release),
        summary.by,
        summary.requested_at,
        summary.phase,
        summary.cause.as_deref().unwrap_or("none"),
        tasks.join(" "),
        summary.mended_by.map_or("nobody".into(), |id| id.to_string())
    )
}

fn shown(release: &Release) -> String {
    format!("{} {}", release.tag, end_of(&release.digest))
}

/// Where the digests of this test differ.
fn end_of(digest: &Digest) -> &str {
    let text = digest.as_str();
    &text[text.len() - 8..]
}

/// From its events, not from its summary.
fn deployment(ledger: &Ledger, id: DeploymentId) -> String {
    let state = ledger.state(id).unwrap().unwrap();
    format!(
        "{id} {}: {} actions, {} events, {} started, in flight: {:?}",
        state.phase.word(),
        state.plan.actions().count(),
        ledger.events(id).unwrap().len(),
        state.order_of_start.len(),
        state.in_flight().map(|action| action.0).collect::<Vec<_>>()
    )
}

fn of_room(ledger: &Ledger, room: &RoomId) -> Vec<String> {
    let about = |post: &Post| match post {
        Post::Build { seq } => format!("build {}", ledger.build_at(*seq).unwrap().unwrap().tag),
        Post::Live { id } => format!("live {id}"),
        Post::Closing { id } => format!("closing {id}"),
        Post::Votes { seq } => format!("votes {seq}"),
        Post::Told { seq } => format!("told {seq}"),
    };
    let waiting = ledger.posts_after(room).unwrap();
    let waiting = waiting.iter().map(|(post, what)| format!("not shown: {} {}", post.0, about(what)));
    let live = ledger.live(room).unwrap();
    let live = live.iter().map(|(post, what, message)| format!("edited: {} {} at {}", post.0, about(what), message.id));
    waiting.chain(live).collect()
}
