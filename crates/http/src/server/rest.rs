//! Idle connections give up what hyper keeps for one: its two buffers alone are 16 KiB.
//!
//! A timer of the server's looks at the connections that are awake. One that had no request since
//! the last look, and has nothing under way, is told to rest: hyper is taken away from it, and made
//! again when something comes.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use thence_core::Canceller;
use thence_reactor::{after, now};

use crate::io::Line;

/// Whether a connection may rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    requests: Cell<u64>,
    /// How many there were at the last look.
    seen: Cell<u64>,
    /// Answers and uploads that are not at their end.
    under_way: Cell<u32>,
    /// Since when there are none.
    idle_since: Cell<Option<Instant>>,
    /// Since when the client sends nothing of an upload that is waited for, and takes nothing of
    /// an answer.
    upload_waits: Cell<Option<Instant>>,
    answer_waits: Cell<Option<Instant>>,
    is_due: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What a connection that was told to rest does.
pub(super) enum Told {
    /// It rests.
    Rest,
    /// It cannot now, and is looked at again.
    Later,
    /// It was told nothing.
    Nothing,
}

impl Rest {
    /// A request has come.
    pub(super) fn request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// An answer or an upload begins.
    pub(super) fn begin(&self) {
        self.under_way.set(self.under_way.get() + 1);
    }

    /// One of them has ended, whole.
    pub(super) fn end(&self) {
        let left = self.under_way.get().saturating_sub(1);
        self.under_way.set(left);
        if left == 0 {
            self.idle_since.set(Some(now()));
        }
    }

    /// The client sends nothing of an upload since then, or does again.
    pub(super) fn upload_waits(&self, since: Option<Instant>) {
        self.upload_waits.set(since);
    }

    /// The client takes nothing of an answer since then, or does again.
    pub(super) fn answer_waits(&self, since: Option<Instant>) {
        self.answer_waits.set(since);
    }

    /// Has the connection look at what it is to do.
    pub(super) fn wake(&self) {
        let waker = self.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Since when the client keeps a request from its end.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.upload_waits.get().or(self.answer_waits.get())
    }

    /// Whether there was a request.
    pub(super) fn has_asked(&self) -> bool {
        self.requests.get() > 0
    }

    /// Whether a request is being read or answered.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.get() > 0
    }

    /// Since when nothing is under way; from now on when nothing ever was.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get().unwrap_or_else(now)
    }

    /// What the connection does that waits for something to happen.
    pub(super) fn told(&self, line: &Line, waker: &Waker) -> Told {
        // Kept whatever it does: it may be told again.
        match &mut *self.waker.borrow_mut() {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        match self.is_due.replace(false) {
            true if self.is_idle() && line.is_quiet() => Told::Rest,
            true => Told::Later,
            false => Told::Nothing,
        }
    }

    fn is_idle(&self) -> bool {
        self.under_way.get() == 0 && self.seen.get() == self.requests.get()
    }
}

/// The connections of a server that are awake.
#[derive(Default)]
pub(super) struct Awake {
    all: RefCell<Vec<Weak<Rest>>>,
    /// The timer, while there is one.
    look: Cell<Option<Canceller>>,
    is_looking: Cell<bool>,
}

impl Awake {
    /// Looks after a connection until it rests.
    pub(super) fn add(self: &Rc<Self>, rest: &Rc<Rest>) {
        rest.seen.set(rest.requests.get());
        self.all.borrow_mut().push(Rc::downgrade(rest));
        if !self.is_looking.replace(true) {
            self.look_later();
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.borrow().iter().filter(|one| one.strong_count() > 0).count()
    }

    /// Nobody is left: the timer would hold a drain open.
    pub(super) fn stop(&self) {
        if let Some(look) = self.look.take() {
            look.cancel();
        }
        self.is_looking.set(false);
    }

    fn look_later(self: &Rc<Self>) {
        let awake = Rc::downgrade(self);
        let later = after(EVERY);
        self.look.set(Some(later.canceller()));
        later.done(move |()| {
            if let Some(awake) = awake.upgrade() {
                awake.look();
            }
        });
    }

    fn look(self: &Rc<Self>) {
        let mut due = Vec::new();
        self.all.borrow_mut().retain(|one| {
            let Some(rest) = one.upgrade() else { return false };
            let is_idle = rest.is_idle();
            rest.seen.set(rest.requests.get());
            if is_idle {
                due.push(rest);
            }
            !is_idle
        });
        if self.all.borrow().is_empty() {
            self.look.take();
            self.is_looking.set(false);
        } else {
            self.look_later();
        }
        for rest in due {
            rest.is_due.set(true);
            rest.wake();
        }
    }
}

/// A connection rests after once to twice this time without a request.
const EVERY: Duration = Duration::from_millis(100);
