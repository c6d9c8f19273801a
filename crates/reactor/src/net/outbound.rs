//! What is to be sent.

use std::{collections::VecDeque, io, task::Waker};

use bytes::{Bytes, BytesMut};
use thence_core::Trigger;

use crate::driver::Key;

/// The writes of a connection: those that wait, and those the driver has.
#[derive(Default)]
pub(super) struct Outbound {
    waiting: VecDeque<Write>,
    /// Copied by `poll_write` and not yet a write.
    loose: BytesMut,
    /// Bytes in `waiting`, `loose` and `sending`.
    len: usize,
    next_id: u64,
    /// With the driver, with the operation they are in.
    pub(super) sending: Option<(Key, Vec<Write>)>,
    /// The end of the sending half was asked for.
    pub(super) finishing: Finishing,
    pub(super) finish_waiters: Vec<Trigger<()>>,
    pub(super) error: Option<Broken>,
    pub(super) wakers: Vec<Waker>,
    /// It stands in the reactor's list of what to flush.
    pub(super) listed: bool,
}

/// One write.
pub(super) struct Write {
    pub(super) id: u64,
    pub(super) bytes: Bytes,
    /// None of `poll_write`.
    pub(super) trigger: Option<Trigger<()>>,
}

/// How far the end of the sending half is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finishing {
    #[default]
    No,
    /// After what waits.
    Asked,
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

    /// Whether the operating system has everything.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.loose.is_empty() && self.sending.is_none()
    }

    pub(super) fn reserve(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn push(&mut self, write: Write) {
        self.settle_loose();
        self.len += write.bytes.len();
        self.waiting.push_back(write);
    }

    /// Takes a copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.loose.extend_from_slice(bytes);
    }

    /// Takes back a write that the driver does not have.
    pub(super) fn remove(&mut self, id: u64) -> Option<Write> {
        let place = self.waiting.iter().position(|write| write.id == id)?;
        let write = self.waiting.remove(place)?;
        self.len -= write.bytes.len();
        Some(write)
    }

    /// What goes out next, as one operation.
    pub(super) fn take_batch(&mut self) -> Vec<Write> {
        self.settle_loose();
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(write) = self.waiting.front() {
            if !batch.is_empty() && (bytes >= BATCH_BYTES || batch.len() >= BATCH_WRITES) {
                break;
            }
            bytes += write.bytes.len();
            batch.extend(self.waiting.pop_front());
        }
        batch
    }

    /// The driver is through with what it had.
    pub(super) fn sent(&mut self, batch: &[Write]) {
        self.len -= batch.iter().map(|write| write.bytes.len()).sum::<usize>();
    }

    /// Takes everything that waits: it will never be sent.
    pub(super) fn take_waiting(&mut self) -> Vec<Write> {
        self.loose.clear();
        let waiting: Vec<Write> = self.waiting.drain(..).collect();
        let sending = self.sending.iter().flat_map(|(_, batch)| batch);
        self.len = sending.map(|write| write.bytes.len()).sum();
        waiting
    }

    /// Takes everybody who waits for anything to be sent.
    pub(super) fn take_all(&mut self) -> Vec<Trigger<()>> {
        let sending = self.sending.take().into_iter().flat_map(|(_, batch)| batch);
        let writes: Vec<Write> = sending.chain(self.take_waiting()).collect();
        let writers = writes.into_iter().filter_map(|write| write.trigger);
        writers.chain(self.finish_waiters.drain(..)).collect()
    }

    fn settle_loose(&mut self) {
        if !self.loose.is_empty() {
            let bytes = self.loose.split().freeze();
            self.waiting.push_back(Write { id: 0, bytes, trigger: None });
        }
    }
}

impl Broken {
    pub(super) fn new(error: &io::Error) -> Self {
        Broken { kind: error.kind(), code: error.raw_os_error(), text: error.to_string() }
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
