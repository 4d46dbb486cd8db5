//! Mistakes in what people configured: where each is, and how it is mended.
//!
//! Whoever reads a configuration goes on after a mistake, so that one start of the bot names them all.

use std::fmt;

/// One mistake, for the person who can mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the variable.
    pub place: String,
    /// The line of the file, counted from 1.
    pub line: Option<usize>,
    /// What is wrong and how it is mended.
    pub text: String,
    /// The line itself; left out where it may hold a secret.
    pub quoted: Option<String>,
}

impl Problem {
    /// A mistake of a whole file or variable.
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Problem {
        Problem { place: place.into(), line: None, text: text.into(), quoted: None }
    }

    /// The same, in one line of the file.
    pub fn at_line(self, line: usize) -> Problem {
        Problem { line: Some(line), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.text)?;
        if let Some(quoted) = &self.quoted {
            write!(f, "\n    {quoted}")?;
        }
        Ok(())
    }
}

/// All mistakes that were found; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_and_quotes_it() {
        let mut problem = Problem::new("fleet.toml", "unknown key `helth`; did you mean `health`?").at_line(12);
        problem.quoted = Some("helth = {}".to_owned());
        let other = Problem::new("SHIPMATE_LISTEN", "no address");
        assert_eq!(
            Problems(vec![problem, other]).to_string(),
            "fleet.toml:12: unknown key `helth`; did you mean `health`?\n    helth = {}\nSHIPMATE_LISTEN: no address"
        );
    }
}
