//! The error of a request's chain: what the client is told, and what went wrong behind it.

use thence::{Failure, Fault, Step};

use crate::answer::Refusal;

/// Why a request was not served. Each step of the chain has to say which [`Refusal`] its failure
/// is, so that no store failure can pass for a missing session (S8), and a missing session for a
/// failure of the upstream.
#[derive(Debug)]
pub struct Denied {
    /// What the client is told.
    pub refusal: Refusal,
    /// What failed, with its trail; nothing when the request itself was refused.
    pub failure: Option<Failure>,
}

impl Denied {
    /// A failure, and what the client is told of it.
    pub fn because(refusal: Refusal) -> impl FnOnce(Failure) -> Self {
        move |failure| Self { refusal, failure: Some(failure) }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, failure: None }
    }
}

impl Fault for Denied {
    /// The failure keeps the trail.
    type Trail = ();
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, (): &mut (), step: Step) {
        if let Some(failure) = &mut self.failure {
            Fault::passed(failure, &mut (), step);
        }
    }

    fn message(&self) -> String {
        match &self.failure {
            Some(failure) => format!("{}: {}", self.refusal.word(), failure.message()),
            None => self.refusal.word().to_owned(),
        }
    }

    fn steps(&self, (): &()) -> Vec<Step> {
        self.failure.as_ref().map(|failure| failure.steps().collect()).unwrap_or_default()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}
