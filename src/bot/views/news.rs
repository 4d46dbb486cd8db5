//! What is new about a build or a deployment, as the end of a sentence: `the first failure after build-43; since then: Anna, Ben`.
//!
//! Authors are foreign text and stay plain; the domain turned those that the policy wants called into `@anna` before.

use std::fmt::Display;

use super::{counted, listed};
use crate::domain::names::{DeploymentId, Tag};
use crate::domain::news::{Bad, News, Trend};
use crate::domain::plan::Release;

/// What is new about a build; `None` = nothing.
pub(super) fn of_build(news: &News<Tag>) -> Option<String> {
    Some(with_authors(trend(&news.trend)?, "since then", &news.authors))
}

/// What is new about a deployment that ended, given what runs; `None` = nothing.
pub(super) fn of_deployment(news: &News<DeploymentId>, runs: Option<&Release>) -> Option<String> {
    let since = runs.map_or_else(|| "new".to_owned(), |runs| format!("new since {}", runs.tag));
    match trend(&news.trend) {
        Some(said) => Some(with_authors(said, &since, &news.authors)),
        None if news.authors.is_empty() => None,
        None => Some(format!("{since}: {}", listed(&news.authors))),
    }
}

fn with_authors(said: String, since: &str, authors: &[String]) -> String {
    if authors.is_empty() { said } else { format!("{said}; {since}: {}", listed(authors)) }
}

fn trend<T: Display>(trend: &Trend<T>) -> Option<String> {
    match trend {
        // Without a good one before it, it is no regression.
        Trend::Usual | Trend::TurnedBad { last_good: None, .. } => None,
        Trend::TurnedBad { bad: Bad::Failed, last_good: Some(good) } => Some(format!("the first failure after {good}")),
        Trend::TurnedBad { bad: Bad::Unstable, last_good: Some(good) } => Some(format!("for the first time after {good}")),
        Trend::StillBad { bad, count, since, last_good } => {
            let said = match bad {
                Bad::Failed => format!("still failing since {since} ({})", counted(*count, "failure")),
                Bad::Unstable => format!("still so since {since} ({})", counted(*count, "unstable build")),
            };
            Some(match last_good {
                Some(good) => format!("{said}, the last good one was {good}"),
                None => said,
            })
        }
        Trend::BackToNormal { failed, unstable, first_bad, last_bad } => {
            let parts = [(*failed, "failure"), (*unstable, "unstable build")];
            let parts: Vec<String> =
                parts.into_iter().filter(|(number, _)| *number > 0).map(|(number, one)| counted(number, one)).collect();
            let which = match failed + unstable {
                0 | 1 => first_bad.to_string(),
                2 => format!("{first_bad}, {last_bad}"),
                _ => format!("{first_bad} to {last_bad}"),
            };
            Some(format!("back to normal after {} ({which})", parts.join(" and ")))
        }
    }
}
