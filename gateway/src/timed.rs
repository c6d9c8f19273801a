//! A body that has to keep moving (rules 31, 32): not all of it by some time, but always some.

use std::{
    cell::Cell,
    error::Error,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use thence::{
    Sleep,
    http::{Body, BodyError, BodyFault, BodyFaultKind},
    now, sleep_until,
};

/// When a body moved last, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Progress(Rc<Moved>);

#[derive(Debug)]
struct Moved {
    last: Cell<Instant>,
    waits: Cell<bool>,
}

impl Progress {
    /// It moves now.
    pub fn begin() -> Self {
        Self(Rc::new(Moved { last: Cell::new(now()), waits: Cell::new(false) }))
    }

    /// Whether its reader waits for its writer: then it is not the reader who is slow.
    pub fn waits(&self) -> bool {
        self.0.waits.get()
    }

    /// The moment it moved last.
    pub fn last(&self) -> Instant {
        self.0.last.get()
    }
}

/// A body that fails when nothing of it comes for a while.
pub struct Timed {
    inner: Body,
    limit: Duration,
    progress: Progress,
    /// Whether fields behind the body pass.
    trailers: bool,
    /// Runs only while nothing comes.
    sleep: Option<Sleep>,
    failed: Option<Box<dyn FnOnce(Fault)>>,
}

/// Why a body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It broke off: its writer is gone.
    BrokenOff,
    /// What came is not how a body is written.
    Invalid,
    /// Nothing came for too long.
    Slow,
}

impl Timed {
    /// `inner`, each piece of which has `limit` to come. Tells when it fails.
    pub fn new(
        inner: Body,
        limit: Duration,
        progress: Progress,
        failed: impl FnOnce(Fault) + 'static,
    ) -> Self {
        let failed: Box<dyn FnOnce(Fault)> = Box::new(failed);
        Self { inner, limit, progress, trailers: true, sleep: None, failed: Some(failed) }
    }

    /// The same body without the fields that may stand behind it: a client could forge there what
    /// was removed from its head (rule 26).
    #[must_use]
    pub fn without_trailers(mut self) -> Self {
        self.trailers = false;
        self
    }

    fn fail(&mut self, fault: Fault) {
        if let Some(failed) = self.failed.take() {
            failed(fault);
        }
    }
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.sleep = None;
            this.progress.0.last.set(now());
            this.progress.0.waits.set(false);
            match &frame {
                Some(Err(error)) => this.fail(fault(error.as_ref())),
                // Nothing comes behind trailers.
                Some(Ok(frame)) if frame.is_trailers() && !this.trailers => {
                    return Poll::Ready(None);
                }
                _ => {}
            }
            return Poll::Ready(frame);
        }
        // A reader that was away for long is no reason to blame the writer: the time runs from
        // here on.
        this.progress.0.waits.set(true);
        let limit = this.limit;
        let sleep = this.sleep.get_or_insert_with(|| sleep_until(now() + limit));
        if Pin::new(sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.fail(Fault::Slow);
        Poll::Ready(Some(Err(Box::new(TooSlow(limit)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").field("inner", &self.inner).field("limit", &self.limit).finish()
    }
}

/// hyper says by the kind of an I/O error, somewhere among the causes, whether the bytes were wrong
/// or missing.
fn fault(error: &(dyn Error + 'static)) -> Fault {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The server waits as long as this does, and may be first.
        if error.downcast_ref::<BodyFault>().is_some_and(|f| f.kind() == BodyFaultKind::TimedOut) {
            return Fault::Slow;
        }
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)) {
            return Fault::Invalid;
        }
        cause = error.source();
    }
    Fault::BrokenOff
}

/// Nothing of a body came for so long.
#[derive(Clone, Copy, Debug)]
pub struct TooSlow(Duration);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing of the body came for {:?}", self.0)
    }
}

impl Error for TooSlow {}
