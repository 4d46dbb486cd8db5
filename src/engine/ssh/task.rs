//! Tasks that run once: in a container of a fixed name, so that however often the action is repeated, it runs once.
//!
//! What is there decides: no container, it is made; one that was never started, it is started; one that runs, it is
//! followed; one that ended, its result is taken. The container stays until the deployment prunes, or undoes, it.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::act::{Act, noted};
use super::container::{Container, Created, Life};
use super::design::{Part, TASK};
use super::docker::{DockerHost, Trouble};
use super::failure::{describe, ended_with, missing, refused};
use super::lines::Tail;
use super::logs::{FrameLines, Frames};
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::names::TaskName;
use crate::domain::plan::Target;

impl Act<'_> {
    pub(super) async fn task(
        self,
        target: &Target,
        task: &TaskName,
        name: &str,
        command: &[String],
        deadline: Duration,
    ) -> Result<Outcome, Failure> {
        let until = Instant::now() + deadline;
        let docker = self.docker(&target.host).await?;
        let life = match self.make(&docker, target, name, Part::Task { name: task, command }).await? {
            Created::Made => Life::Created,
            Created::NameTaken => self.found(&docker, target, task, name).await?,
        };
        let frames = match life {
            Life::Created => {
                docker.connect_further(name, &self.role(&target.role)?.container().networks).await?;
                let frames = docker.attach(name).await?;
                docker.start(name).await?;
                frames
            }
            Life::Running | Life::Restarting(_) | Life::Exited { .. } => docker.follow(name),
        };
        let mut tail = Tail::default();
        let over = timeout_at(until, async {
            self.pass_on(&docker, frames, &mut tail).await?;
            // Its outputs are closed; as a rule the engine knows already how it ended.
            match docker.inspect(name).await? {
                Some(found) if matches!(found.life, Life::Running | Life::Restarting(_)) => {
                    docker.until_over(name, deadline).await?;
                    docker.inspect(name).await
                }
                found => Ok(found),
            }
        });
        let ended = match over.await {
            Ok(ended) => ended.and_then(|found| verdict(found, target, task, name)),
            Err(_elapsed) => {
                docker.kill(name).await?;
                let message = format!("{task} was killed on {}: no end after {:.0} s", target.host, deadline.as_secs_f64());
                Err(Failure::new(FailureKind::Timeout, message))
            }
        };
        ended.map_err(|failure| failure.with_output(tail.into_lines()))
    }

    /// The container that an earlier run of the action made.
    async fn found(self, docker: &DockerHost, target: &Target, task: &TaskName, name: &str) -> Result<Life, Failure> {
        let host = &target.host;
        let Some(found) = docker.inspect(name).await? else {
            return Err(missing(format!("someone removed the container {name} of {task} on {host} just now")));
        };
        self.is_ours(&found, target, name, true)?;
        if found.labels.get(TASK).is_none_or(|label| label != task.as_str()) {
            return Err(refused(format!("{host} has a container {name} that isn't the task {task}: remove it")));
        }
        Ok(found.life)
    }

    async fn pass_on(self, docker: &DockerHost, mut frames: Frames, tail: &mut Tail) -> Result<(), Failure> {
        let mut lines = FrameLines::default();
        let mut each = |line: &str| {
            self.output.line(line);
            tail.push(line);
        };
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(frame) => lines.push(frame, &mut each),
                Err(error) => match docker.trouble(error).await {
                    // Its logging driver keeps nothing to follow. How it ended is known all the same.
                    Trouble::Refused(_) => break,
                    trouble => return Err(docker.failure("follow a task", trouble)),
                },
            }
        }
        lines.end(each);
        Ok(())
    }
}

/// How the container ended. Well is exit status 0 and nothing else.
fn verdict(found: Option<Container>, target: &Target, task: &TaskName, name: &str) -> Result<Outcome, Failure> {
    let Target { role, host } = target;
    match found.map(|found| found.life) {
        Some(Life::Exited { code: 0, out_of_memory: false }) => Ok(Outcome::default()),
        Some(Life::Exited { code: 0, out_of_memory: true }) => Ok(noted("a process of it was killed: out of memory")),
        Some(Life::Exited { code, out_of_memory }) => {
            let kind = ended_with(code);
            let memory = if out_of_memory { format!(", out of memory: give {role} more (`memory`)") } else { String::new() };
            Err(Failure::new(kind, format!("{task} ended with {} on {host}{memory}", describe(kind))))
        }
        Some(Life::Created | Life::Running | Life::Restarting(_)) => {
            Err(refused(format!("{task} was started again on {host} by someone else")))
        }
        None => Err(missing(format!("someone removed the container {name} of {task} on {host}; how it ended is unknown"))),
    }
}
