//! What containers write: live, and afterwards.
//!
//! To miss nothing and to see nothing twice, a container is attached to before it is started, with `stream` alone. The
//! items of these streams are frames, not lines, and those of the two outputs come in between each other.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::docker::{DockerHost, Trouble};
use super::limits::{API_CALL, TAIL_LINES};
use super::lines::{Lines, Tail};
use crate::domain::deployment::Failure;

/// What a container writes, in frames.
pub type Frames = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// Frames to lines, each output by itself.
#[derive(Default)]
pub struct FrameLines {
    out: Lines,
    err: Lines,
}

impl FrameLines {
    /// Takes a frame and hands on each line that it ends.
    pub fn push(&mut self, frame: LogOutput, each: impl FnMut(&str)) {
        match frame {
            LogOutput::StdErr { message } => self.err.push(&message, each),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                self.out.push(&message, each)
            }
        }
    }

    /// Hands on what is left when the stream is over.
    pub fn end(&mut self, mut each: impl FnMut(&str)) {
        self.out.end(&mut each);
        self.err.end(&mut each);
    }
}

impl DockerHost {
    /// All that a container will write from now on.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn attach(&self, name: &str) -> Result<Frames, Failure> {
        let options = AttachContainerOptionsBuilder::new().stdout(true).stderr(true).stream(true).build();
        let attached = self.call(API_CALL, self.api().attach_container(name, Some(options))).await;
        Ok(attached.map_err(|trouble| self.failure(&format!("attach to {name}"), trouble))?.output)
    }

    /// All that a container wrote, and writes until it ends.
    pub fn follow(&self, name: &str) -> Frames {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("all").follow(true).build();
        Box::pin(self.api().logs(name, Some(options)))
    }

    /// Returns when a container doesn't run, however it ended; `deadline` is for the engine's first answer only.
    ///
    /// # Errors
    /// When the engine doesn't say.
    pub async fn until_over(&self, name: &str, deadline: Duration) -> Result<(), Failure> {
        // Not `next-exit`: bollard sends the request only when the stream is polled, and by then a quick one is over for ever.
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut ends = Box::pin(self.patient(deadline).wait_container(name, Some(options)));
        match ends.next().await {
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => {
                let trouble = self.trouble(error).await;
                Err(self.failure(&format!("wait for {name}"), trouble))
            }
            None => {
                let trouble = self.silent(&"the answer ended early").await;
                Err(self.failure(&format!("wait for {name}"), trouble))
            }
        }
    }

    /// The last `count` lines that a container wrote.
    ///
    /// # Errors
    /// When the engine can't read its logs.
    pub async fn log_lines(&self, name: &str, count: usize) -> Result<Vec<String>, Failure> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&count.to_string()).build();
        let mut stream = Box::pin(self.api().logs(name, Some(options)));
        let read = async {
            let (mut lines, mut all) = (FrameLines::default(), Vec::new());
            while let Some(frame) = stream.next().await {
                lines.push(frame?, |line| all.push(line.to_owned()));
            }
            lines.end(|line| all.push(line.to_owned()));
            Ok(all)
        };
        let trouble = match timeout(API_CALL, read).await {
            Ok(Ok(mut lines)) => return Ok(lines.split_off(lines.len().saturating_sub(count))),
            Ok(Err(error)) => self.trouble(error).await,
            Err(_elapsed) => Trouble::Timeout(API_CALL),
        };
        Err(self.failure(&format!("read the logs of {name}"), trouble))
    }

    /// The last lines that a container wrote, for a failure; none if they can't be read, since they only explain something worse.
    pub async fn last_lines(&self, name: &str) -> Vec<String> {
        let mut tail = Tail::default();
        self.log_lines(name, TAIL_LINES).await.unwrap_or_default().iter().for_each(|line| tail.push(line));
        tail.into_lines()
    }
}
