//! What changed since a plan was approved, a sentence each.

use super::{code, listed};
use crate::domain::changed::Changed;
use crate::domain::plan::Release;

/// What changed: `the digest of build-43 changed: 0f3a… → 9b1c…`.
pub fn changed(changed: &Changed) -> String {
    match changed {
        Changed::Request => "it is the plan of another request".to_owned(),
        Changed::Image { from, to } => format!("the image's repository changed: {} → {}", code(from), code(to)),
        Changed::Tag { from, to } => format!("the build changed: {from} → {to}"),
        Changed::Digest { tag, from, to } => format!("the digest of {tag} changed: {} → {}", from.short(), to.short()),
        Changed::Hosts { gone, new } => {
            let part = |hosts: &[_], what| (!hosts.is_empty()).then(|| format!("{} {what}", listed(hosts)));
            let parts: Vec<String> = [part(gone, "no longer"), part(new, "as well")].into_iter().flatten().collect();
            format!("the hosts changed: {}", parts.join("; "))
        }
        Changed::Reached { hosts } => format!("the address or the Docker socket changed of {}", listed(hosts)),
        Changed::Config { roles } => format!("the configuration changed of {}", listed(roles)),
        Changed::RunsNow { target, then, now } => match (then, now) {
            // The tag alone would say that nothing changed.
            (Some(then), Some(now)) if then.tag == now.tag => {
                format!("{target} runs another image of {} now: {} → {}", now.tag, then.digest.short(), now.digest.short())
            }
            (then, now) => format!("what {target} runs changed: {} → {}", ran(then.as_ref()), ran(now.as_ref())),
        },
        Changed::Runbook => "the command's runbook changed".to_owned(),
        Changed::FleetRevision => "the fleet file changed for this environment".to_owned(),
        Changed::After => "what happens after a failure, or after the end, changed".to_owned(),
        Changed::Steps => "what would be done on the hosts changed".to_owned(),
    }
}

fn ran(release: Option<&Release>) -> String {
    release.map_or_else(|| "nothing known".to_owned(), |release| release.tag.to_string())
}
