//! Services that commands of the host manage. Their exit status is all that they say, so it is asked before and after.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::act::{Act, noted};
use super::command::RemoteCommand;
use super::exec::{Ended, Within};
use super::failure::missing;
use super::limits::{FIRST_POLL, POLL, SERVICE_COMMAND, STATUS_SECONDS};
use super::lines::Tail;
use super::link::Link;
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::plan::Target;

impl Act<'_> {
    pub(super) async fn start_service(self, target: &Target) -> Result<Outcome, Failure> {
        let commands = self.commands(&target.role)?;
        let link = self.engine.links.get(&target.host).await?;
        if self.status(&link, target).await? == 0 {
            return Ok(noted("it runs already"));
        }
        self.command(&link, &commands.start, SERVICE_COMMAND, &format!("the start command of {target}")).await?;
        Ok(Outcome::default())
    }

    pub(super) async fn stop_service(self, target: &Target) -> Result<Outcome, Failure> {
        let commands = self.commands(&target.role)?;
        let link = self.engine.links.get(&target.host).await?;
        if self.status(&link, target).await? != 0 {
            return Ok(noted("it didn't run"));
        }
        let grace = self.role(&target.role)?.grace.duration();
        let stopped = self.command(&link, &commands.stop, SERVICE_COMMAND + grace, &format!("the stop command of {target}")).await;
        // Whatever the stop command said: the status command has the last word.
        let until = Instant::now() + grace;
        let mut pause = FIRST_POLL;
        while self.status(&link, target).await? == 0 {
            if Instant::now() >= until || stopped.is_err() {
                stopped?;
                let message =
                    format!("{target} still runs {:.0} s after its stop command: its status command says so", grace.as_secs_f64());
                return Err(Failure::new(FailureKind::Timeout, message));
            }
            sleep(pause).await;
            pause = (pause * 2).min(POLL);
        }
        Ok(Outcome::default())
    }

    /// The exit status of the status command; 0 = it runs.
    pub(super) async fn status(self, link: &Link, target: &Target) -> Result<i32, Failure> {
        let words = &self.commands(&target.role)?.status;
        let command = RemoteCommand::from_words(words).ok_or_else(|| missing(format!("{} has no status command", target.role)))?;
        match link.run(&command, Within::total(Duration::from_secs(STATUS_SECONDS.into())), &mut |_, _| ()).await {
            Ended::Exit(status) => Ok(status),
            ended => {
                Err(link.outcome(ended, &format!("the status command of {target}")).unwrap_or_else(|| missing("no exit status")))
            }
        }
    }

    /// Runs a command of the fleet file; its lines go to the output, and with a failure.
    pub(super) async fn command(self, link: &Link, words: &[String], total: Duration, what: &str) -> Result<(), Failure> {
        let command = RemoteCommand::from_words(words).ok_or_else(|| missing(format!("{what} is empty")))?;
        let mut tail = Tail::default();
        let ended = link
            .run(&command, Within::total(total), &mut |_, line| {
                self.output.line(line);
                tail.push(line);
            })
            .await;
        match link.outcome(ended, what) {
            None => Ok(()),
            Some(failure) => {
                Err(Failure { message: format!("{} (`{command}`)", failure.message), output: tail.into_lines(), ..failure })
            }
        }
    }
}
