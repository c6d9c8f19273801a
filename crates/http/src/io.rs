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
    /// Whether the other side has said that nothing more comes, or the connection broke.
    pub(crate) is_over: Rc<Cell<bool>>,
}

impl Io {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Rc::new(stream), is_over: Rc::default() }
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut is_over = false;
        let mut copy = |bytes: &[u8]| {
            is_over = bytes.is_empty();
            let n = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..n]);
            n
        };
        let read = ready!(self.stream.poll_read(cx, &mut copy));
        if is_over || read.is_err() {
            self.is_over.set(true);
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
