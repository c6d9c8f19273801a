//! Who is waited for while a request goes out, and since when.
//!
//! A limit counts only against the one whose turn it is. That is the other side while bytes wait to
//! be written, and after the last of them; it is whoever made the request's body while that has
//! nothing to send.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use thence_reactor::now;

use super::ClientErrorKind;
use crate::io::{Io, Line};
use crate::{Body, BodyError};

/// How the writing of a connection goes.
#[derive(Debug)]
pub(super) struct Pace {
    moved: Cell<Instant>,
    /// Bytes wait, and the other side takes none.
    is_blocked: Cell<bool>,
    /// How many the connection had not sent when that was seen last.
    unsent: Cell<usize>,
    line: Rc<Line>,
}

impl Pace {
    pub(super) fn begin(line: Rc<Line>) -> Rc<Self> {
        let (moved, is_blocked) = (Cell::new(now()), Cell::new(false));
        Rc::new(Self { moved, is_blocked, unsent: Cell::new(0), line })
    }

    /// hyper hears only when all of what the connection holds has left; a slow link takes it piece
    /// by piece.
    fn look(&self) {
        let unsent = self.line.stream.unsent();
        if unsent < self.unsent.replace(unsent) && self.is_blocked.get() {
            self.moved.set(now());
        }
    }

    /// Whether hyper has bytes that the other side does not take.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }
}

/// hyper's `Read` and `Write` over a stream, with its pace.
#[derive(Debug)]
pub(super) struct Paced {
    io: Io,
    pace: Rc<Pace>,
    /// Whether the other side takes no more. It may have answered before: that can still be read,
    /// so hyper learns of it by the end of what is read, never before.
    is_broken: bool,
}

impl Paced {
    pub(super) fn new(io: Io, pace: Rc<Pace>) -> Self {
        Self { io, pace, is_broken: false }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.is_broken {
            true => Poll::Pending,
            false => Pin::new(&mut self.io).poll_write_vectored(cx, slices),
        };
        self.pace.is_blocked.set(!matches!(written, Poll::Ready(Ok(_))));
        match written {
            Poll::Ready(Ok(_)) => self.pace.moved.set(now()),
            Poll::Ready(Err(_)) => self.is_broken = true,
            Poll::Pending => self.pace.unsent.set(self.pace.line.stream.unsent()),
        }
        if self.is_broken { Poll::Pending } else { written }
    }
}

impl Read for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Paced::write(&mut self, cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Paced::write(&mut self, cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// How a request's body goes out.
#[derive(Debug)]
pub(super) struct Upload {
    moved: Cell<Instant>,
    /// hyper wants more of it, and there is nothing yet.
    is_wanted: Cell<bool>,
    is_over: Cell<bool>,
    is_whole: Cell<bool>,
}

impl Upload {
    /// `body`, watched.
    pub(super) fn watch(body: Body) -> (Body, Rc<Self>) {
        let is_whole = body.is_end_stream();
        let upload = Rc::new(Self {
            moved: Cell::new(now()),
            is_wanted: Cell::new(false),
            is_over: Cell::new(is_whole),
            is_whole: Cell::new(is_whole),
        });
        if is_whole {
            return (body, upload);
        }
        (Body::wrap(Uploaded { body, upload: upload.clone() }), upload)
    }

    /// Whether all of it was handed to hyper.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole.get()
    }

    /// What is late when nothing happens any more, and when; nothing while it is not the other
    /// side's turn, or its time has no end.
    pub(super) fn due(
        &self,
        pace: &Pace,
        head: Duration,
        upload: Duration,
    ) -> Option<(Instant, ClientErrorKind)> {
        pace.look();
        let (limit, kind) = match (pace.is_blocked.get(), self.is_over.get()) {
            (false, true) => (head, ClientErrorKind::HeadTimeout),
            (false, false) if self.is_wanted.get() => return None,
            _ => (upload, ClientErrorKind::UploadTimeout),
        };
        let moved = self.moved.get().max(pace.moved.get());
        Some((moved.checked_add(limit)?, kind))
    }

    fn end(&self, is_whole: bool) {
        if !self.is_over.replace(true) {
            self.is_whole.set(is_whole);
            self.moved.set(now());
        }
    }
}

/// A request's body, as hyper has it.
struct Uploaded {
    body: Body,
    upload: Rc<Upload>,
}

impl http_body::Body for Uploaded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, upload } = self.get_mut();
        let frame = Pin::new(&mut *body).poll_frame(cx);
        upload.is_wanted.set(frame.is_pending());
        match &frame {
            Poll::Pending => {}
            Poll::Ready(None) => upload.end(true),
            Poll::Ready(Some(Err(_))) => upload.end(false),
            Poll::Ready(Some(Ok(_))) if body.is_end_stream() => upload.end(true),
            Poll::Ready(Some(Ok(_))) => upload.moved.set(now()),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Uploaded {
    fn drop(&mut self) {
        // hyper asks no further once it has as many bytes as were announced.
        self.upload.end(self.body.size_hint().exact() == Some(0));
    }
}
