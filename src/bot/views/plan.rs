//! A plan, as people read it before it runs.

use super::{code, lines, table, text};
use crate::chat::{Block, Reply, Tone};
use crate::domain::plan::{Action, Origin, Plan, Purpose, Stage};

/// What would happen; nothing was touched.
pub fn plan(plan: &Plan) -> Reply {
    let mut body: Vec<Block> = vec![Block::Line(format!("image {} at {}", plan.image, plan.release.digest.short()))];
    body.push(stages(plan));
    body.extend(lines(plan.warnings.iter().map(|warning| format!("mind: {}", text(warning)))));
    Reply { tone: Tone::Info, title: format!("plan {}: {}", code(plan.hash().short()), headline(plan)), body }
}

/// The stages with their places and actions.
pub fn stages(plan: &Plan) -> Block {
    table(&["stage", "actions"], plan.stages.iter().map(|stage| vec![stage.name.clone(), stage_text(stage)]))
}

/// `deploy antisocial production: build-41 → build-42`.
pub fn headline(plan: &Plan) -> String {
    let to = &plan.release.tag;
    let what = match &plan.purpose {
        Purpose::Deploy | Purpose::Revert => match plan.from() {
            Some(from) if from.tag != *to => format!("{} → {to}", from.tag),
            Some(_) => to.to_string(),
            None => format!("→ {to}"),
        },
        Purpose::Restart => to.to_string(),
        Purpose::Run { command, .. } => format!("{} in {to}", code(command.join(" "))),
    };
    format!("{} {} {}: {what}", plan.purpose.word(), plan.app, plan.environment)
}

/// The lanes of a stage in words; equal ones are said once, with all their places.
fn stage_text(stage: &Stage) -> String {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for lane in &stage.lanes {
        let verbs: Vec<String> = lane.iter().map(action_text).collect();
        let place = lane.first().map(place).unwrap_or_default();
        let verbs = verbs.join(", ");
        match said.iter_mut().find(|(known, _)| *known == verbs) {
            Some((_, places)) => places.push(place),
            None => said.push((verbs, vec![place])),
        }
    }
    let texts: Vec<String> = said.into_iter().map(|(verbs, places)| format!("{}: {verbs}", places.join(", "))).collect();
    texts.join("; ")
}

fn place(action: &Action) -> String {
    match (action.target(), action.host()) {
        (Some(target), _) => target.to_string(),
        (None, Some(host)) => host.to_string(),
        (None, None) => "all".to_owned(),
    }
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Start { origin: Origin::Kept, .. } => "start (kept)".to_owned(),
        Action::Start { origin: Origin::New { port: Some(port) }, .. } => format!("start (new, port {port})"),
        Action::Start { origin: Origin::New { port: None }, .. } => "start (new)".to_owned(),
        Action::Drain { span, .. } | Action::Wait { span } => format!("{} {}", action.verb(), super::span(*span)),
        Action::Prune { containers, images, .. } => format!("prune {} containers, {} images", containers.len(), images.len()),
        Action::Preflight { .. }
        | Action::Pull { .. }
        | Action::Task { .. }
        | Action::Leave { .. }
        | Action::Stop { .. }
        | Action::Healthy { .. }
        | Action::Join { .. }
        | Action::Record { .. } => action.verb().to_owned(),
    }
}
