//! Whether the session store answers, as it was seen last.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use thence::now;

/// What the last look-up of the prober found, and when.
#[derive(Debug)]
pub struct Health {
    /// Why not, if it does not.
    trouble: RefCell<Option<String>>,
    seen: Cell<Instant>,
}

impl Health {
    /// The store has just been opened.
    pub fn begin() -> Self {
        Self { trouble: RefCell::default(), seen: Cell::new(now()) }
    }

    /// It answered, or did not. A change is logged.
    pub fn note(&self, trouble: Option<String>) {
        self.seen.set(now());
        match (&trouble, &*self.trouble.borrow()) {
            (Some(trouble), None) => tracing::warn!("the session store does not answer: {trouble}"),
            (None, Some(_)) => tracing::info!("the session store answers again"),
            _ => {}
        }
        self.trouble.replace(trouble);
    }

    /// Why the store cannot be used, if it cannot.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// How long ago that was seen.
    pub fn age(&self) -> Duration {
        now().saturating_duration_since(self.seen.get())
    }
}
