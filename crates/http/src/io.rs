//! A TCP stream as hyper wants it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use thence_reactor::net::TcpStream;

/// hyper's `Read` and `Write` over the reactor's stream.
///
/// One copy into hyper's buffer, none of it zeroed first; the driver's buffer goes back at once.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) stream: Rc<TcpStream>,
    /// Bytes that have come since somebody set it to 0.
    pub(crate) received: Rc<Cell<usize>>,
}

impl Io {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Rc::new(stream), received: Rc::default() }
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut copy = |bytes: &[u8]| {
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..n]);
            n
        };
        let n = ready!(self.stream.poll_read(cx, &mut copy))?;
        self.received.set(self.received.get().saturating_add(n));
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}
