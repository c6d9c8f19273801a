//! Sockets as `Stream`s.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use thence_core::{Deferred, Failure, Wait};

use super::{TcpListener, TcpStream, Transport, UnixAddr, UnixListener, UnixStream};
use crate::driver::RECV_MAX;

/// What comes on a [`Transport`], piece by piece, as a `Stream` that ends with it; after an error
/// it ends, too.
///
/// It reads only when it is asked. Dropped, it loses nothing: what was on its way to it is there
/// for the next read.
///
/// ```
/// use std::{future::poll_fn, pin::Pin};
/// use futures_core::Stream; // or `futures::StreamExt`, which has `next`
/// use thence_reactor::net::{Chunks, UnixStream};
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixStream::pair()?;
/// here.write("hello").await?;
/// drop(here);
/// let mut chunks = Chunks::new(there);
/// let first = poll_fn(|cx| Pin::new(&mut chunks).poll_next(cx)).await;
/// assert_eq!(first.unwrap()?, "hello");
/// assert!(poll_fn(|cx| Pin::new(&mut chunks).poll_next(cx)).await.is_none());
/// # Ok(()) }).unwrap();
/// ```
#[must_use = "a stream gives nothing until it is asked"]
pub struct Chunks<S> {
    /// Left before the stream is let go of.
    wait: Option<Wait<Bytes, Failure>>,
    from: S,
    over: bool,
}

impl<S: AsRef<Transport>> Chunks<S> {
    /// What comes on `from`, which may be a reference.
    pub fn new(from: S) -> Self {
        Chunks { wait: None, from, over: false }
    }

    /// Gives back what it reads from.
    pub fn into_inner(self) -> S {
        self.from
    }
}

impl<S: AsRef<Transport> + Unpin> Stream for Chunks<S> {
    type Item = Result<Bytes, Failure>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let read = || this.from.as_ref().read(RECV_MAX).into_future();
        let bytes = ready!(Pin::new(this.wait.get_or_insert_with(read)).poll(task));
        this.wait = None;
        this.over = bytes.as_ref().map_or(true, Bytes::is_empty);
        match bytes {
            Ok(bytes) if bytes.is_empty() => Poll::Ready(None),
            bytes => Poll::Ready(Some(bytes)),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Chunks<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("from", &self.from).field("over", &self.over).finish()
    }
}

/// The connections of a listener as a `Stream`, by [`TcpListener::incoming`] or
/// [`UnixListener::incoming`].
///
/// It has no end of its own: when the listener closes, or the reactor drains, whoever waits for it
/// ends as one who waits for an accept does. Dropped, it loses nothing: a connection that was on its
/// way to it goes to the next accept.
#[must_use = "a stream gives nothing until it is asked"]
pub struct Incoming<'a, T: 'static> {
    wait: Option<Wait<T, Failure>>,
    accept: Box<dyn Fn() -> Deferred<T> + 'a>,
}

impl<T> Stream for Incoming<'_, T> {
    type Item = Result<T, Failure>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let accept = || (this.accept)().into_future();
        let accepted = ready!(Pin::new(this.wait.get_or_insert_with(accept)).poll(task));
        this.wait = None;
        Poll::Ready(Some(accepted))
    }
}

impl<T> fmt::Debug for Incoming<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl TcpListener {
    /// Its connections as a `Stream`.
    ///
    /// ```
    /// use std::{future::poll_fn, pin::Pin};
    /// use futures_core::Stream; // or `futures::StreamExt`, which has `next`
    /// use thence_reactor::net::{TcpListener, TcpStream};
    /// # thence_reactor::run(async {
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()).await?;
    /// let mut incoming = listener.incoming();
    /// let next = poll_fn(|cx| Pin::new(&mut incoming).poll_next(cx)).await;
    /// let (_stream, from) = next.expect("it has no end")?;
    /// assert_eq!(from, client.local_addr()?);
    /// # Ok(()) }).unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_, (TcpStream, SocketAddr)> {
        Incoming { wait: None, accept: Box::new(|| self.accept()) }
    }
}

impl UnixListener {
    /// Its connections as a `Stream`, as [`TcpListener::incoming`].
    pub fn incoming(&self) -> Incoming<'_, (UnixStream, UnixAddr)> {
        Incoming { wait: None, accept: Box::new(|| self.accept()) }
    }
}
