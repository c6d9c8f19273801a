//! One thing the doctor looked at.

use std::fmt;

use crate::exit::Trouble;

/// What was found, what was expected and, if those differ, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A gateway does not start, or does not serve.
    Bad,
    /// It works, and could be better, or will not for ever.
    Note,
    /// As it should be.
    Ok,
}

impl Verdict {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Note => "note",
            Self::Ok => "ok",
        }
    }
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self {
            check,
            verdict: Verdict::Ok,
            found: found.to_string(),
            expected: expected.to_string(),
            advice: None,
        }
    }

    /// Not as it should be.
    pub fn of(
        verdict: Verdict,
        check: &'static str,
        found: impl fmt::Display,
        expected: impl fmt::Display,
        advice: impl fmt::Display,
    ) -> Self {
        let advice = Some(advice.to_string());
        Self { verdict, advice, ..Self::ok(check, found, expected) }
    }

    /// What keeps a gateway from starting.
    pub fn trouble(check: &'static str, trouble: &Trouble) -> Self {
        let (what, expected, advice) = (trouble.what(), trouble.expected(), trouble.advice());
        Self::of(Verdict::Bad, check, what, expected, advice)
    }
}
