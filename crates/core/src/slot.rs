//! An outcome as a node holds it.
//!
//! Users' code: `Default`, `Clone` and `Drop` of a trail, `passed` and `steps` of an error, and
//! `Drop` of what is held, all under guards.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fault::{Fault, Step};
use crate::guarded::let_go;
use crate::node::{cx, run_guarded};
use crate::outcome::{Outcome, Panic, Stop, lane};
use crate::report::{Report, hand_over};

/// An outcome; beside an error stands the trail that has no room in it.
///
/// Only an error has a trail. A value or a Stop is made without running anything of the user's:
/// what ends a node because it was cancelled or lost cannot be disturbed by a trail's `Default`.
#[expect(missing_debug_implementations, reason = "crate-internal; public only to the sealed trait")]
pub enum Slot<T, E: Fault> {
    Ok(T),
    Err(E, E::Trail),
    Stop(Stop),
}

impl<T, E: Fault> Slot<T, E> {
    /// An error with a trail that is still empty. Runs the `Default` of the user's trail: if that
    /// panics there is no room for the error, which is told at once, and the panic is the outcome.
    #[inline]
    pub(crate) fn err(error: E) -> Self {
        match cx().enter(|| catch_unwind(AssertUnwindSafe(E::Trail::default))) {
            Ok(trail) => Self::Err(error, trail),
            Err(payload) => Self::without_trail(error, Panic::new(payload, None)),
        }
    }

    #[cold]
    fn without_trail(error: E, panic: Panic) -> Self {
        hand_over(&Report::without_trail(&error));
        let_go(error);
        Self::Stop(Stop::Panicked(panic))
    }

    #[inline]
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Stop(Stop::Cancelled))
    }

    #[inline]
    pub(crate) fn lane(&self) -> u8 {
        match self {
            Self::Ok(_) => lane::OK,
            Self::Err(..) => lane::ERR,
            Self::Stop(_) => lane::STOP,
        }
    }

    /// Tells an error of a step it passes. One that panics at that is not lost over it: the panic
    /// is reported, and the error goes on.
    #[inline]
    pub(crate) fn passed(&mut self, step: Step) {
        if let Self::Err(error, trail) = self {
            run_guarded(|| error.passed(trail, step));
        }
    }

    /// The steps of an error; none of one that panics when it is asked.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Self::Err(error, trail) = self {
            run_guarded(|| steps = error.steps(trail));
        }
        steps
    }

    /// A copy of the trail of an error. Without one, should its `Clone` panic, an error begins a
    /// new trail.
    pub(crate) fn trail(&self) -> Option<E::Trail> {
        let mut copy = None;
        if let Self::Err(_, trail) = self {
            run_guarded(|| copy = Some(trail.clone()));
        }
        copy
    }

    pub(crate) fn into_outcome(self) -> Outcome<T, E> {
        match self {
            Self::Ok(value) => Outcome::Ok(value),
            Self::Err(error, trail) => {
                let_go(trail);
                Outcome::Err(error)
            }
            Self::Stop(stop) => Outcome::Stop(stop),
        }
    }

    /// Drops what it holds, each under a guard.
    pub(crate) fn let_go(self) {
        match self {
            Self::Ok(value) => let_go(value),
            Self::Err(error, trail) => {
                let_go(error);
                let_go(trail);
            }
            Self::Stop(stop) => drop(stop),
        }
    }

    /// Drops the value.
    pub(crate) fn without_its_value(self) -> Slot<(), E> {
        self.map(let_go)
    }

    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Slot<U, E> {
        match self {
            Self::Ok(value) => Slot::Ok(f(value)),
            Self::Err(error, trail) => Slot::Err(error, trail),
            Self::Stop(stop) => Slot::Stop(stop),
        }
    }

    /// The error, in a step that has a callback for it. Its trail is dropped before that runs.
    #[inline]
    pub(crate) fn into_error(self) -> E {
        match self {
            Self::Err(error, trail) => {
                let_go(trail);
                error
            }
            _ => unreachable!("only an error goes to the callback"),
        }
    }

    /// What is no value, in a step that only has a callback for values.
    #[inline]
    pub(crate) fn without_value<U>(self) -> Slot<U, E> {
        match self {
            Self::Err(error, trail) => Slot::Err(error, trail),
            Self::Stop(stop) => Slot::Stop(stop),
            Self::Ok(_) => unreachable!("a value goes to the callback"),
        }
    }

    /// What is no error, in a step that only has a callback for errors.
    #[inline]
    pub(crate) fn without_error<F: Fault>(self) -> Slot<T, F> {
        match self {
            Self::Ok(value) => Slot::Ok(value),
            Self::Stop(stop) => Slot::Stop(stop),
            Self::Err(..) => unreachable!("an error goes to the callback"),
        }
    }
}

impl<T, E: Fault> From<Outcome<T, E>> for Slot<T, E> {
    #[inline]
    fn from(outcome: Outcome<T, E>) -> Self {
        match outcome {
            Outcome::Ok(value) => Self::Ok(value),
            Outcome::Err(error) => Self::err(error),
            Outcome::Stop(stop) => Self::Stop(stop),
        }
    }
}

impl<T, E: Fault> From<Result<T, E>> for Slot<T, E> {
    #[inline]
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::err(error),
        }
    }
}
