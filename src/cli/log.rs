//! The log: to standard error, as text or as JSON, filtered by `RUST_LOG`.
//!
//! When the chat is drawn on the same terminal, lines go through it, so that they don't tear the picture.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::chat::console::Notes;
#[cfg(feature = "matrix")]
use crate::chat::matrix::QUIET;
use crate::settings::{LogFormat, Settings};

/// No library says too much.
#[cfg(not(feature = "matrix"))]
const QUIET: &str = "";

pub(super) fn start(settings: &Settings, screen: Option<Notes>) {
    // The settings' filter may say otherwise.
    let filter = EnvFilter::new(format!("{QUIET},{}", settings.log_filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines { screen }).with_ansi(false);
    match settings.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Where log lines go.
struct Lines {
    screen: Option<Notes>,
}

/// One line on its way.
struct Line<'a> {
    screen: Option<&'a Notes>,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line { screen: self.screen.as_ref(), bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let on_screen = self.screen.is_some_and(|screen| screen.line(&String::from_utf8_lossy(&self.bytes)));
        if !on_screen {
            // Nobody is left to be told that the log can't be written.
            let _ = io::stderr().lock().write_all(&self.bytes);
        }
    }
}
