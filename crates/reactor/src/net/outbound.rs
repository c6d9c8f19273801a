//! What is to be sent.

use std::{collections::VecDeque, io, task::Waker};

use bytes::{Bytes, BytesMut};
use thence_core::Trigger;

use crate::driver::{Buffers, Key};

/// The writes of a connection: those that wait, and those the driver has.
#[derive(Default)]
pub(super) struct Outbound {
    waiting: VecDeque<(Bytes, Option<Trigger<()>>)>,
    /// Copied by `poll_write` and not yet a write.
    loose: BytesMut,
    /// Whose bytes the driver has.
    sending: Vec<Trigger<()>>,
    pub(super) op: Option<Key>,
    /// How what was sent without an operation came out, until those who wait are told.
    told: Option<io::Result<usize>>,
    /// Bytes of the operation's that went out before it began.
    sent_before: usize,
    /// Bytes that the driver has, and all that were given and have not left.
    sending_len: usize,
    len: usize,
    pub(super) finishing: Finishing,
    pub(super) finish_waiters: Vec<Trigger<()>>,
    pub(super) error: Option<Broken>,
    wakers: Vec<Waker>,
    /// It stands in the reactor's list of what to flush.
    pub(super) listed: bool,
}

/// How far the end of the sending half is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finishing {
    #[default]
    No,
    /// After what waits.
    Asked,
    /// As well, without a word of TLS that this is all: nobody has said so.
    Cut,
    Done,
}

/// An error that stays, since [`io::Error`] cannot be cloned.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    kind: io::ErrorKind,
    code: Option<i32>,
    text: String,
}

impl Outbound {
    /// Bytes that were given and have not left.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Of those, what the driver has not sent. It asks `held` how much of an operation that is.
    pub(super) fn unsent(&self, held: impl FnOnce(Key) -> usize) -> usize {
        self.len - self.sending_len + self.op.map_or(0, held)
    }

    /// Whether the operating system has everything.
    pub(super) fn is_idle(&self) -> bool {
        self.is_settled() && !self.is_sending()
    }

    /// Whether the driver has something, or somebody has yet to be told of it.
    pub(super) fn is_sending(&self) -> bool {
        self.op.is_some() || self.told.is_some()
    }

    /// What was taken has been tried at once. Says whether somebody has to be told how it came out.
    pub(super) fn tried(&mut self, result: io::Result<usize>) -> bool {
        if result.is_ok() && self.sending.is_empty() && self.wakers.is_empty() {
            self.sent();
            return false;
        }
        self.told = Some(result);
        true
    }

    pub(super) fn take_told(&mut self) -> Option<io::Result<usize>> {
        self.told.take()
    }

    /// An operation sends the rest.
    pub(super) fn sends(&mut self, op: Key, sent_before: usize) {
        self.op = Some(op);
        self.sent_before = sent_before;
    }

    /// Whether somebody who asked for the end of a write still waits for it.
    pub(super) fn is_stuck(&self) -> bool {
        self.sending.iter().any(Trigger::is_cancelled)
    }

    pub(super) fn push(&mut self, bytes: Bytes, trigger: Option<Trigger<()>>) {
        self.settle_loose();
        self.len += bytes.len();
        self.waiting.push_back((bytes, trigger));
    }

    /// Takes a copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.loose.extend_from_slice(bytes);
    }

    /// What goes out next, as one operation; `None` when nothing waits. A write that was cancelled
    /// before any of it went out is left out.
    pub(super) fn take_batch(&mut self) -> Option<Buffers> {
        self.settle_loose();
        let mut batch = Buffers::default();
        let mut any = false;
        while let Some((bytes, trigger)) = self.waiting.pop_front() {
            if trigger.as_ref().is_some_and(Trigger::is_cancelled) {
                self.len -= bytes.len();
                continue;
            }
            any = true;
            self.sending_len += bytes.len();
            self.sending.extend(trigger);
            batch.push(bytes);
            if self.sending_len >= BATCH_BYTES || self.sending.len() >= BATCH_WRITES {
                break;
            }
        }
        any.then_some(batch)
    }

    /// The driver gets `len` bytes in place of what was taken.
    pub(super) fn sealed(&mut self, len: usize) {
        self.len = self.len - self.sending_len + len;
        self.sending_len = len;
    }

    /// Whether nothing waits for the driver.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.loose.is_empty()
    }

    /// The driver is through with what it had. Says how much that was, and whose.
    pub(super) fn sent(&mut self) -> (usize, Vec<Trigger<()>>) {
        self.op = None;
        self.len -= self.sending_len;
        let expected = std::mem::take(&mut self.sending_len);
        let expected = expected - std::mem::take(&mut self.sent_before);
        (expected, std::mem::take(&mut self.sending))
    }

    /// Keeps the list that [`sent`](Outbound::sent) gave, for the next operation.
    pub(super) fn keep(&mut self, emptied: Vec<Trigger<()>>) {
        if self.sending.capacity() == 0 {
            self.sending = emptied;
        }
    }

    /// Takes whoever waits for something that will never be sent.
    pub(super) fn take_waiting(&mut self) -> Vec<Trigger<()>> {
        self.loose.clear();
        self.len = self.sending_len;
        let waiting = self.waiting.drain(..).filter_map(|(_, trigger)| trigger);
        waiting.chain(self.finish_waiters.drain(..)).collect()
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    pub(super) fn wake_later(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|kept| kept.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Why nothing more can be written.
    pub(super) fn refusal(&self) -> Option<io::Error> {
        match (&self.error, self.finishing) {
            (Some(broken), _) => Some(broken.error()),
            (None, Finishing::No) => None,
            (None, _) => Some(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "this end of the connection was shut down for sending",
            )),
        }
    }

    fn settle_loose(&mut self) {
        if !self.loose.is_empty() {
            self.waiting.push_back((self.loose.split().freeze(), None));
        }
    }
}

impl Broken {
    pub(super) fn new(error: &io::Error) -> Self {
        Broken { kind: error.kind(), code: error.raw_os_error(), text: error.to_string() }
    }

    pub(super) fn aborted() -> Self {
        let text = "the connection was aborted".into();
        Broken { kind: io::ErrorKind::ConnectionAborted, code: None, text }
    }

    pub(super) fn error(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.text.clone()),
        }
    }
}

/// What one operation takes, so that the writes in it end soon after their bytes have left.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_WRITES: usize = 64;
