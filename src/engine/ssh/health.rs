//! Waiting until a target is healthy, and failing at once when it can't become so any more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::act::{Act, noted};
use super::container::{Container, Life};
use super::failure::{describe, ended_with, missing, refused};
use super::http_check::HttpCheck;
use super::limits::{FIRST_POLL, POLL};
use super::link::{Forward, Link};
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::plan::Target;
use crate::domain::spec::HealthCheck;

/// The last answer that wasn't good, and how often it came.
#[derive(Default)]
struct Tally {
    answer: String,
    times: u32,
}

impl Tally {
    fn add(&mut self, answer: String) {
        self.times = if answer == self.answer { self.times + 1 } else { 1 };
        self.answer = answer;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.times > 1 { write!(f, "{} ×{}", self.answer, self.times) } else { f.write_str(&self.answer) }
    }
}

/// The way to ask a target by HTTP.
struct Http<'a> {
    check: HttpCheck,
    tunnel: Forward<'a>,
}

impl Act<'_> {
    pub(super) async fn healthy(self, target: &Target, container: Option<&str>) -> Result<Outcome, Failure> {
        let link = self.engine.links.get(&target.host).await?;
        let http = self.http(&link, target, container).await?;
        let result = self.until_healthy(&link, target, container, http.as_ref()).await;
        if let Some(http) = http {
            http.tunnel.close().await;
        }
        match (result, container) {
            (Err(failure), Some(name)) if link.is_alive().await => {
                Err(failure.with_output(self.last_words(&link, target, name).await))
            }
            (result, _) => result,
        }
    }

    /// What the container wrote last. None if it can't be read, or can't be cleaned of secrets: it only explains.
    async fn last_words(self, link: &Link, target: &Target, name: &str) -> Vec<String> {
        let Ok(role) = self.role(&target.role) else { return Vec::new() };
        if self.engine.know_secrets(link, role.container(), &self.public(target)).await.is_err() {
            return Vec::new();
        }
        match self.docker(&target.host).await {
            Ok(docker) => docker.last_lines(name).await,
            Err(_) => Vec::new(),
        }
    }

    async fn http<'l>(self, link: &'l Link, target: &Target, container: Option<&str>) -> Result<Option<Http<'l>>, Failure> {
        let HealthCheck::Http { path, host, headers, codes, timeout, .. } = &self.role(&target.role)?.health else {
            return Ok(None);
        };
        let Some(endpoint) = self.endpoint(target, container).await? else {
            if let Some(name) = container {
                self.look(target, name, None).await?;
            }
            return Err(refused(format!("{target} publishes no port that its health check could ask")));
        };
        let check = HttpCheck::new(&endpoint, path, host.as_deref(), headers, codes, timeout.duration())?;
        let tunnel = link.tunnel(&endpoint.address, endpoint.port).await?;
        Ok(Some(Http { check, tunnel }))
    }

    async fn until_healthy(
        self,
        link: &Link,
        target: &Target,
        container: Option<&str>,
        http: Option<&Http<'_>>,
    ) -> Result<Outcome, Failure> {
        let check = &self.role(&target.role)?.health;
        let longest = match check {
            HealthCheck::Http { interval, .. } => interval.duration(),
            HealthCheck::Docker { .. } | HealthCheck::Running { .. } => POLL,
        };
        let (began, deadline) = (Instant::now(), check.deadline().duration());
        let (mut pause, mut tally, mut restarts) = (FIRST_POLL.min(longest), Tally::default(), None);
        loop {
            // Side by side: on a distant host each of them is a wait of its own.
            let (found, asked) = tokio::join!(self.state(link, target, container, restarts), ask(http));
            let answer = match found? {
                State::Container(found) => {
                    restarts = restarts.or(Some(found.restarts));
                    answer(check, Some(&found), asked, began.elapsed())?
                }
                State::Service { status: 0 } => answer(check, None, asked, began.elapsed())?,
                State::Service { status } => Err(format!("its status command ended with exit status {status}")),
            };
            match answer {
                Ok(good) => return Ok(noted(format!("healthy after {:.1} s ({good})", began.elapsed().as_secs_f64()))),
                Err(bad) => {
                    self.output.progress(&bad);
                    tally.add(bad);
                }
            }
            let left = deadline.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(self.unhealthy(link, target, http.is_some(), deadline, &tally));
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn state(self, link: &Link, target: &Target, container: Option<&str>, restarts: Option<u64>) -> Result<State, Failure> {
        Ok(match container {
            Some(name) => State::Container(Box::new(self.look(target, name, restarts).await?)),
            None => State::Service { status: self.status(link, target).await? },
        })
    }

    /// The container, which must be alive and not have been restarted since the first look.
    async fn look(self, target: &Target, name: &str, restarts: Option<u64>) -> Result<Container, Failure> {
        let Some(found) = self.docker(&target.host).await?.inspect(name).await? else {
            return Err(missing(format!("{} doesn't have the container {name} of {target} any more", target.host)));
        };
        match found.life {
            Life::Running if restarts.is_none_or(|before| found.restarts <= before) => Ok(found),
            Life::Running => {
                let times = found.restarts - restarts.unwrap_or_default();
                Err(Failure::new(
                    FailureKind::Unhealthy,
                    format!("{target} doesn't stay up: the engine restarted it {times} times"),
                ))
            }
            Life::Restarting(code) | Life::Exited { code, out_of_memory: false } => {
                let kind = ended_with(code);
                Err(Failure::new(kind, format!("{target} doesn't stay up: it ended with {}", describe(kind))))
            }
            Life::Exited { out_of_memory: true, .. } => Err(Failure::new(
                FailureKind::Signal { signal: Some(9) },
                format!("{target} was killed: out of memory. Give it more (`memory`)"),
            )),
            Life::Created => Err(missing(format!("{target} was never started"))),
        }
    }

    fn unhealthy(self, link: &Link, target: &Target, by_http: bool, deadline: Duration, tally: &Tally) -> Failure {
        let mut message = format!("{target} isn't healthy after {:.0} s: {tally}", deadline.as_secs_f64());
        if by_http && let Some(why) = link.refused_forward() {
            let host = &target.host;
            message.push_str(&format!(
                ". sshd of {host} refuses to forward ports ({why}): set `AllowTcpForwarding yes` in /etc/ssh/sshd_config there"
            ));
        }
        Failure::new(FailureKind::Unhealthy, message)
    }
}

/// What is known of a target at one look.
enum State {
    /// A container, alive.
    Container(Box<Container>),
    /// What its status command said.
    Service { status: i32 },
}

async fn ask(http: Option<&Http<'_>>) -> Option<Result<String, String>> {
    Some(http?.check.ask(http?.tunnel.path()).await)
}

/// The answer of one look: `Ok` is healthy.
fn answer(
    check: &HealthCheck,
    found: Option<&Container>,
    asked: Option<Result<String, String>>,
    elapsed: Duration,
) -> Result<Result<String, String>, Failure> {
    Ok(match (check, found, asked) {
        (HealthCheck::Http { .. }, _, Some(asked)) => asked,
        (HealthCheck::Http { .. }, _, None) => Err("nothing to ask".to_owned()),
        (HealthCheck::Running { after }, _, _) if elapsed >= after.duration() => Ok("it still runs".to_owned()),
        (HealthCheck::Running { .. }, _, _) => Err("it runs".to_owned()),
        (HealthCheck::Docker { .. }, None, _) => Ok("its status command says so".to_owned()),
        (HealthCheck::Docker { .. }, Some(found), _) => match (found.health.as_deref(), &found.health_output) {
            (Some("healthy"), _) => Ok("by its HEALTHCHECK".to_owned()),
            (Some(state), Some(output)) => Err(format!("{state} ({})", crate::domain::names::printable(output, 200))),
            (Some(state), None) => Err(state.to_owned()),
            (None, _) => {
                return Err(refused("the image has no HEALTHCHECK: set `health` of this role to an HTTP path or to a time"));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_counted() {
        let mut tally = Tally::default();
        for answer in ["nobody listens", "400 Bad Request", "400 Bad Request"] {
            tally.add(answer.to_owned());
        }
        assert_eq!(tally.to_string(), "400 Bad Request ×2");
    }
}
