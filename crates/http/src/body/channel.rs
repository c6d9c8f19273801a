//! A body that is written while it is read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;
use thence_core::{Deferred, Failure, Trigger};

use super::BodyError;

/// Both ends of a channel that holds `capacity` bytes.
pub(super) fn new(capacity: usize) -> (BodySender, Receiver) {
    let shared = Rc::new(RefCell::new(Channel { capacity, ..Channel::default() }));
    (BodySender(shared.clone()), Receiver(shared))
}

/// Writes a [`Body::channel`](crate::Body::channel). Dropped without [`BodySender::finish`], the body breaks off.
pub struct BodySender(Rc<RefCell<Channel>>);

#[derive(Default)]
struct Channel {
    chunks: VecDeque<Bytes>,
    waiting: usize,
    capacity: usize,
    end: Option<End>,
    reader: Option<Waker>,
    /// Whoever waits for room.
    writers: Vec<Trigger<()>>,
    reader_left: bool,
}

impl Channel {
    /// Whether a writer has to wait. Not in an empty one, whatever its capacity: nobody would ever
    /// end that wait.
    fn is_full(&self) -> bool {
        self.waiting > 0 && self.waiting >= self.capacity
    }
}

enum End {
    BrokenOff(Option<String>),
    Finished,
}

impl BodySender {
    /// Adds a chunk; ends when there is room for another. Fails when the reader has left.
    #[track_caller]
    pub fn send(&mut self, chunk: impl Into<Bytes>) -> Deferred<()> {
        let chunk = chunk.into();
        let mut channel = self.0.borrow_mut();
        if channel.reader_left {
            return Deferred::err(Failure::msg("nobody reads this body any more"));
        }
        channel.waiting += chunk.len();
        if !chunk.is_empty() {
            channel.chunks.push_back(chunk);
        }
        let reader = channel.reader.take();
        let full = channel.is_full();
        let (trigger, room) = Deferred::new();
        let at_once = if full {
            channel.writers.push(trigger);
            None
        } else {
            Some(trigger)
        };
        drop(channel);
        if let Some(reader) = reader {
            reader.wake();
        }
        if let Some(trigger) = at_once {
            trigger.fire(());
        }
        room
    }

    /// Ends the body well.
    pub fn finish(self) {
        self.end(End::Finished);
    }

    /// Ends the body with an error: the other side sees it cut short.
    pub fn fail(self, why: impl fmt::Display) {
        self.end(End::BrokenOff(Some(why.to_string())));
    }

    /// Whether the reader has gone.
    pub fn reader_left(&self) -> bool {
        self.0.borrow().reader_left
    }

    fn end(&self, end: End) {
        let mut channel = self.0.borrow_mut();
        if channel.end.is_some() {
            return;
        }
        channel.end = Some(end);
        let reader = channel.reader.take();
        drop(channel);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        self.end(End::BrokenOff(None));
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodySender").field("waiting", &self.0.borrow().waiting).finish()
    }
}

/// What reads it.
pub(super) struct Receiver(Rc<RefCell<Channel>>);

impl http_body::Body for Receiver {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut channel = self.0.borrow_mut();
        if let Some(chunk) = channel.chunks.pop_front() {
            channel.waiting -= chunk.len();
            let room = !channel.is_full();
            let writers = if room { std::mem::take(&mut channel.writers) } else { Vec::new() };
            drop(channel);
            writers.into_iter().for_each(|writer| writer.fire(()));
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let end = match &mut channel.end {
            None => {
                let before = channel.reader.replace(cx.waker().clone());
                drop(channel);
                drop(before);
                return Poll::Pending;
            }
            Some(End::Finished) => None,
            Some(End::BrokenOff(why)) => {
                let why = why.take();
                let text = why.unwrap_or_else(|| "its writer was dropped before the end".into());
                Some(Err(BodyError::from(text)))
            }
        };
        Poll::Ready(end)
    }

    fn is_end_stream(&self) -> bool {
        let channel = self.0.borrow();
        channel.chunks.is_empty() && matches!(channel.end, Some(End::Finished))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut channel = self.0.borrow_mut();
        channel.reader_left = true;
        // What users gave is dropped with nothing borrowed: it may come back.
        let chunks = std::mem::take(&mut channel.chunks);
        let reader = channel.reader.take();
        let writers = std::mem::take(&mut channel.writers);
        drop(channel);
        drop((chunks, reader));
        for writer in writers {
            writer.fail(Failure::msg("nobody reads this body any more"));
        }
    }
}
