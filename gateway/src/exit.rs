//! How the process ends, and what it says when that is not what was asked for.

use std::{fmt, process::ExitCode};

/// How the process ended, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: what was asked for was done.
    Done,
    /// 1: it could not start, or could not do what was asked. A supervisor should not restart it.
    CouldNotStart,
    /// 2: a second signal cut the drain short.
    Forced,
    /// 3: the drain ended with something unfinished.
    Unclean,
    /// 64: the command line was wrong (`EX_USAGE`; clap's own 2 would read as [`Exit::Forced`]).
    Usage,
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::CouldNotStart => 1,
            Self::Forced => 2,
            Self::Unclean => 3,
            Self::Usage => 64,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why the program stops: what was wrong, what was expected, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    what: String,
    expected: String,
    advice: String,
    exit: Exit,
}

impl Trouble {
    /// A program that could not start, or a command that could not be done.
    pub fn new(
        what: impl fmt::Display,
        expected: impl fmt::Display,
        advice: impl fmt::Display,
    ) -> Self {
        Self {
            what: what.to_string(),
            expected: expected.to_string(),
            advice: advice.to_string(),
            exit: Exit::CouldNotStart,
        }
    }

    /// The same trouble, ending the process another way.
    #[must_use]
    pub fn ending(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What was wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What was expected.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What to do.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// How the process should end.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "  expected: {}", self.expected)?;
        write!(f, "  to do:    {}", self.advice)
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let all = [Exit::Done, Exit::CouldNotStart, Exit::Forced, Exit::Unclean, Exit::Usage];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 64]);
    }

    #[test]
    fn trouble_says_what_was_wrong_what_was_expected_and_what_to_do() {
        let said = Trouble::new("port 80 is taken", "a free port", "choose another").to_string();
        assert_eq!(said, "port 80 is taken\n  expected: a free port\n  to do:    choose another");
    }
}
