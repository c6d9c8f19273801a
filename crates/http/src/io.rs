//! A stream as hyper wants it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use thence_reactor::{net::Transport, now};

/// A stream, and what has been seen of it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: Transport,
    /// Whether the other side has said that nothing more comes, or the connection broke.
    pub(crate) is_over: Cell<bool>,
    /// Since when something has come of which no message was made yet.
    begun: Cell<Option<Instant>>,
    /// Whether hyper has written something and not flushed it yet.
    is_unflushed: Cell<bool>,
    /// Whether hyper has begun to close it.
    is_closing: Cell<bool>,
    /// How many bytes hyper has written.
    written: Cell<u64>,
    /// The number of the request that was read last.
    exchange: Cell<u64>,
    /// Whether its answer has yet to begin.
    awaits_head: Cell<bool>,
}

impl Line {
    pub(crate) fn new(stream: impl Into<Transport>) -> Rc<Self> {
        Rc::new(Self {
            stream: stream.into(),
            is_over: Cell::default(),
            begun: Cell::default(),
            is_unflushed: Cell::default(),
            is_closing: Cell::default(),
            written: Cell::default(),
            exchange: Cell::default(),
            awaits_head: Cell::default(),
        })
    }

    /// Whether hyper has nothing on its way in or out, as far as it can tell. What it has flushed is
    /// the stream's, which outlives it.
    pub(crate) fn is_quiet(&self) -> bool {
        !(self.is_over.get()
            || self.begun.get().is_some()
            || self.is_unflushed.get()
            || self.is_closing.get())
    }

    /// Since when there is a message that has not come to its end.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.begun.get()
    }

    /// What has come is a message, or a whole one.
    pub(crate) fn is_read(&self) {
        self.begun.set(None);
    }

    fn begin(&self) {
        if self.begun.get().is_none() {
            self.begun.set(Some(now()));
        }
    }

    /// Whether the other side has yet to take something.
    pub(crate) fn is_sending(&self) -> bool {
        self.is_unflushed.get() || self.stream.unsent() > 0
    }

    /// A number that changes when the operating system takes something.
    pub(crate) fn sent(&self) -> u64 {
        self.written.get().wrapping_sub(self.stream.unsent() as u64)
    }

    /// Looks whether the other side has said that nothing more comes, without taking anything.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut is_end = false;
        let mut peek = |bytes: &[u8]| {
            is_end = bytes.is_empty();
            0
        };
        ready!(self.stream.poll_read(cx, &mut peek))?;
        if !is_end {
            return Poll::Pending;
        }
        self.is_over.set(true);
        Poll::Ready(Ok(()))
    }

    /// A request has been read. Gives its number, by which its interim answers are told apart.
    pub(crate) fn begin_exchange(&self) -> u64 {
        self.exchange.set(self.exchange.get() + 1);
        self.awaits_head.set(true);
        self.exchange.get()
    }

    /// The number of the request that was read last.
    pub(crate) fn exchange(&self) -> u64 {
        self.exchange.get()
    }

    /// Its answer goes to hyper.
    pub(crate) fn begin_answer(&self) {
        self.awaits_head.set(false);
    }

    /// Sends an interim answer if that is between two messages. Says whether it was.
    pub(crate) fn interject(&self, exchange: u64, head: Vec<u8>) -> bool {
        let is_early = self.exchange.get() == exchange && self.awaits_head.get();
        // hyper may be in the middle of something of its own.
        if !is_early || self.is_unflushed.get() || self.is_closing.get() {
            return false;
        }
        if self.stream.unsent() + head.len() > INTERIM {
            return false;
        }
        self.written.set(self.written.get().wrapping_add(head.len() as u64));
        self.stream.send(head);
        true
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        self.is_unflushed.set(true);
        if let Poll::Ready(Ok(n)) = written {
            self.written.set(self.written.get().wrapping_add(*n as u64));
        }
    }
}

/// hyper's `Read` and `Write` over a stream.
///
/// One copy into hyper's buffer, none of it zeroed first; the driver's buffer goes back at once.
#[derive(Debug)]
pub(crate) struct Io {
    line: Rc<Line>,
    /// What came before, and was not used.
    early: Bytes,
}

impl Io {
    pub(crate) fn new(line: Rc<Line>) -> Self {
        Self::after(line, Bytes::new())
    }

    /// The same after `early` has come.
    pub(crate) fn after(line: Rc<Line>, early: Bytes) -> Self {
        Self { line, early }
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let n = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..n]);
            self.early.advance(n);
            self.line.begin();
            return Poll::Ready(Ok(()));
        }
        let mut is_over = false;
        let mut copy = |bytes: &[u8]| {
            is_over = bytes.is_empty();
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..n]);
            n
        };
        let read = ready!(self.line.stream.poll_read(cx, &mut copy));
        if is_over || read.is_err() {
            self.line.is_over.set(true);
        } else {
            self.line.begin();
        }
        Poll::Ready(read.map(drop))
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.line.stream.poll_write(cx, bytes);
        self.line.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.line.stream.poll_write_vectored(cx, slices);
        self.line.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes us when it has given us all that it had. The reactor sends it at the end of
        // this turn; waiting for that would have hyper look at everything once more, and what goes
        // wrong the next read or write says. A shutdown waits.
        self.line.is_unflushed.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.is_closing.set(true);
        self.line.stream.poll_shutdown(cx)
    }
}

/// How much may wait for a client that does not read before interim answers are dropped.
const INTERIM: usize = 64 * 1024;
