//! How the room looks: lines, or a screen.

use std::io::{self, IsTerminal as _};

use super::screen::Size;

/// How the room looks.
pub enum Look {
    /// Each change is a line.
    Lines,
    /// Messages are redrawn in place.
    Screen {
        /// The size of the terminal; asked each time.
        size: Box<dyn Fn() -> Size + Send + Sync>,
        /// Whether to use colours.
        colour: bool,
    },
}

impl Look {
    /// What fits this process's standard input and output.
    pub fn of_stdio() -> Look {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let capable = set("TERM").is_some_and(|term| term != "dumb");
        if !(capable && io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Look::Lines;
        }
        let size = || match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size { columns: size.ws_col.into(), rows: size.ws_row.into() },
            _ => Size { columns: 80, rows: 24 },
        };
        Look::Screen { size: Box::new(size), colour: set("NO_COLOR").is_none() }
    }
}
