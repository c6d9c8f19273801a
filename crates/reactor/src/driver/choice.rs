//! Which driver a reactor gets when its builder is given none, and why.

use std::{env, fmt, io};

use thence_core::Failure;

use super::{Driver, ready::Ready};

/// The driver that a reactor of this process gets, and what became of the others.
///
/// The environment variable `THENCE_DRIVER` names one; without it, or with `auto`, it is the first
/// of this list that the machine lets us have. What [`Builder::driver`](crate::Builder::driver) is
/// given goes before all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// What was asked for: the value of `THENCE_DRIVER`, or `auto`.
    pub asked: String,
    /// The drivers that were considered, the most wanted first.
    pub candidates: Vec<Candidate>,
}

/// A driver that was considered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its name, as [`Driver::name`] says it.
    pub name: &'static str,
    /// What of the operating system it stands on.
    pub over: &'static str,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a driver that was considered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// This program was built without it.
    Absent,
    /// It was made, and is the one.
    Chosen,
    /// The operating system refused, with this reason.
    Failed(String),
    /// `THENCE_DRIVER` names another.
    Unwanted,
}

/// Finds out which driver a reactor would get now, by making it and giving it up again.
///
/// ```
/// let choice = thence_reactor::driver::choice();
/// let chosen = choice.chosen().expect("a machine with a descriptor to spare");
/// assert_eq!(chosen.name, "ready");
/// println!("the driver is {choice}");
/// ```
pub fn choice() -> Choice {
    choose(asked()).0
}

impl Choice {
    /// The driver that won. `None` when there is no driver of the name asked for, or when the
    /// operating system gives none.
    pub fn chosen(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.verdict == Verdict::Chosen)
    }
}

/// One line: the winner, and then each of the others with what became of it.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chosen() {
            Some(Candidate { name, over, .. }) => write!(f, "`{name}`, over {over}")?,
            None => f.write_str("none")?,
        }
        if self.asked != AUTO {
            write!(f, "; THENCE_DRIVER asks for `{}`", self.asked)?;
        }
        for Candidate { name, over, verdict } in &self.candidates {
            match verdict {
                Verdict::Absent => write!(f, "; `{name}` is not in this build")?,
                Verdict::Chosen => {}
                Verdict::Failed(why) => write!(f, "; `{name}` failed, {over} said: {why}")?,
                Verdict::Unwanted => write!(f, "; `{name}` was not asked for")?,
            }
        }
        Ok(())
    }
}

/// The driver that is to be had, and how it came to be that one.
pub(crate) fn make() -> Result<(Box<dyn Driver>, Choice), Failure> {
    let (choice, driver) = choose(asked());
    match driver {
        Some(driver) => Ok((driver, choice)),
        None => Err(refusal(&choice)),
    }
}

fn asked() -> String {
    match env::var_os(VARIABLE) {
        Some(value) if !value.is_empty() => value.to_string_lossy().into_owned(),
        _ => AUTO.to_owned(),
    }
}

fn choose(asked: String) -> (Choice, Option<Box<dyn Driver>>) {
    let mut driver = None;
    let mut consider = |name, over, make: Option<fn() -> io::Result<Box<dyn Driver>>>| {
        let is_wanted = driver.is_none() && (asked == AUTO || asked == name);
        let verdict = match make {
            None => Verdict::Absent,
            Some(_) if !is_wanted => Verdict::Unwanted,
            Some(make) => match make() {
                Ok(made) => {
                    driver = Some(made);
                    Verdict::Chosen
                }
                Err(error) => Verdict::Failed(error.to_string()),
            },
        };
        Candidate { name, over, verdict }
    };
    let candidates = vec![
        consider("uring", "io_uring", None),
        consider("ready", READINESS, Some(|| Ok(Box::new(Ready::new()?)))),
    ];
    (Choice { asked, candidates }, driver)
}

fn refusal(choice: &Choice) -> Failure {
    let failed = choice.candidates.iter().any(|one| matches!(one.verdict, Verdict::Failed(_)));
    if failed {
        return Failure::msg(format_args!("no driver can be had: {choice}"));
    }
    let in_build: Vec<String> = choice
        .candidates
        .iter()
        .filter(|candidate| candidate.verdict != Verdict::Absent)
        .map(|candidate| format!("`{}`", candidate.name))
        .collect();
    Failure::msg(format_args!(
        "{VARIABLE} is `{}`, which is no driver of this build: use `{AUTO}` or {}",
        choice.asked,
        in_build.join(" or ")
    ))
}

const VARIABLE: &str = "THENCE_DRIVER";
const AUTO: &str = "auto";
const READINESS: &str = if cfg!(target_os = "linux") { "epoll" } else { "kqueue or poll" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_the_first_that_can_be_had_wins() {
        let (choice, driver) = choose(AUTO.into());
        assert_eq!(driver.map(|driver| driver.name()), Some("ready"));
        assert_eq!(choice.chosen().map(|chosen| chosen.name), Some("ready"));
        assert_eq!(choice.candidates[0].verdict, Verdict::Absent);
        let said = choice.to_string();
        assert_eq!(said, format!("`ready`, over {READINESS}; `uring` is not in this build"));
    }

    #[test]
    fn a_wish_is_named_in_the_line() {
        let (choice, driver) = choose("ready".into());
        assert_eq!(driver.map(|driver| driver.name()), Some("ready"));
        assert!(choice.to_string().contains("THENCE_DRIVER asks for `ready`"), "{choice}");
    }

    #[test]
    fn a_wish_that_cannot_be_granted_is_refused_with_what_can() {
        for wish in ["uring", "reddy"] {
            let (choice, driver) = choose(wish.into());
            assert!(driver.is_none() && choice.chosen().is_none());
            let said = refusal(&choice).to_string();
            assert!(said.contains(wish) && said.contains("use `auto` or `ready`"), "{said}");
        }
    }
}
