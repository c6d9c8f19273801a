//! Transports as the reading and writing traits of other libraries.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use super::Transport;

/// A [`Transport`] for libraries that poll: it implements `AsyncRead` and `AsyncWrite` of
/// `futures-io` (feature `futures-io`) and of tokio (feature `tokio-io`, of which only the traits
/// are built: there is no tokio runtime in it).
///
/// It wraps any stream, a reference to one, or a clone of its `Transport`. While it reads leave the reading
/// half of the stream alone, and so for writing.
///
/// * A read that a library drops half-way loses nothing.
/// * A write takes at most 64 KiB before it waits; `flush` waits until the operating system has all
///   of it. Dropped without that, what was written still goes out.
#[cfg_attr(
    feature = "futures-io",
    doc = "
```
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use thence_reactor::net::{AsyncIo, UnixStream};
# thence_reactor::run(async {

let (here, there) = UnixStream::pair()?;
AsyncIo::new(&here).write_all(b\"hello\").await?;
drop(here);
let mut text = String::new();
AsyncIo::new(there).read_to_string(&mut text).await?;
assert_eq!(text, \"hello\");
# Ok(()) }).unwrap();
```
"
)]
#[derive(Debug)]
pub struct AsyncIo<S>(S);

impl<S: AsRef<Transport>> AsyncIo<S> {
    /// `stream`, to be polled.
    pub fn new(stream: S) -> Self {
        AsyncIo(stream)
    }

    /// The stream in it.
    pub fn get_ref(&self) -> &S {
        &self.0
    }

    /// Gives the stream back. Nothing that has come is lost.
    pub fn into_inner(self) -> S {
        self.0
    }

    /// Gives what has come to `take`, which has room for so many bytes.
    fn read(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        self.0.as_ref().poll_read(cx, &mut |bytes| {
            let n = bytes.len().min(room);
            take(&bytes[..n]);
            n
        })
    }
}

#[cfg(feature = "futures-io")]
impl<S: AsRef<Transport>> futures_io::AsyncRead for AsyncIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.read(cx, buf.len(), &mut |bytes| buf[..bytes.len()].copy_from_slice(bytes))
    }
}

#[cfg(feature = "futures-io")]
impl<S: AsRef<Transport>> futures_io::AsyncWrite for AsyncIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_ref().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_ref().poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_shutdown(cx)
    }
}

#[cfg(feature = "tokio-io")]
impl<S: AsRef<Transport>> tokio::io::AsyncRead for AsyncIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read(cx, buf.remaining(), &mut |bytes| buf.put_slice(bytes)).map_ok(drop)
    }
}

#[cfg(feature = "tokio-io")]
impl<S: AsRef<Transport>> tokio::io::AsyncWrite for AsyncIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_ref().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_ref().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_shutdown(cx)
    }
}
