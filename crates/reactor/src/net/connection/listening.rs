//! A protocol that hears what comes.

use std::task::Waker;

/// Whether a protocol hears what a connection receives, and how it is told.
#[derive(Debug, Default)]
pub(super) struct Listening {
    waker: Option<Waker>,
    paused: bool,
}

impl Listening {
    pub(super) fn begin(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    pub(super) fn end(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether it wants what comes.
    pub(super) fn wants(&self) -> bool {
        self.waker.is_some() && !self.paused
    }

    /// Something is there for it.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
