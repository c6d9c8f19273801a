//! A TCP connection.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use thence_core::Deferred;

use super::{
    connecting,
    connection::{Connection, Need},
};
use crate::{driver::Socket, hub::Hub};

/// A TCP connection. Reads and writes are Deferreds, on `&self`.
///
/// * A read that is left or cancelled loses nothing: what came goes to the front of the
///   connection's buffer, and the next read has it.
/// * Reads end in the order they were asked for, and so do writes. A write ends when the operating
///   system has all of it, so that waiting for it is the back-pressure. What is written in one turn
///   goes out together at its end.
/// * A cancelled write is not sent when nothing of it was; otherwise its bytes go on to their end,
///   since half of them would garble the stream.
/// * Dropped, the connection closes when its writes are out and nobody waits for a read.
///
/// TCP_NODELAY is on.
///
/// ```
/// # use thence_core::flow;
/// # use thence_reactor::net::{TcpListener, TcpStream};
/// # thence_reactor::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let addr = listener.local_addr();
/// # flow(async move {
/// #     let (stream, _) = listener.accept().await?;
/// #     stream.write(stream.read(100).await?).await
/// # }).report();
/// let stream = TcpStream::connect(addr).await?;
/// stream.write("ping\n").await?;
/// let answer = stream.read(1024).await?;
/// assert_eq!(answer, "ping\n");
/// # Ok(()) }).unwrap();
/// ```
pub struct TcpStream(Rc<Connection>);

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// Cancelled, or left, a connection that is made all the same closes.
    ///
    /// # Errors
    ///
    /// The Deferred fails when nobody listens there, or there is no way there.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Deferred<TcpStream> {
        let hub = Hub::current("TcpStream::connect");
        let (trigger, deferred) = Deferred::new();
        connecting::start(&hub, addr, trigger);
        deferred
    }

    pub(super) fn new(hub: Rc<Hub>, socket: Socket) -> Self {
        TcpStream(Connection::new(hub, socket))
    }

    /// What is there, at least one byte and at most `max`; empty at the end of the stream.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken.
    #[track_caller]
    pub fn read(&self, max: usize) -> Deferred<Bytes> {
        let (trigger, deferred) = Deferred::new();
        self.0.read(Need::AtMost(max), trigger);
        deferred
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    ///
    /// The Deferred fails with [`io::ErrorKind::UnexpectedEof`] when the stream ends before; what
    /// did come stays for other reads. And when the connection is broken.
    #[track_caller]
    pub fn read_exact(&self, n: usize) -> Deferred<Bytes> {
        let (trigger, deferred) = Deferred::new();
        self.0.read(Need::Exactly(n), trigger);
        deferred
    }

    /// Sends all of `bytes`, after what was written before.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken, or its sending half was shut down. How
    /// much of this write has arrived is unknown then.
    #[track_caller]
    pub fn write(&self, bytes: impl Into<Bytes>) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.0.write(bytes.into(), trigger);
        deferred
    }

    /// Says that nothing more will be sent, after what was written before. Reading goes on.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken.
    #[doc(alias = "loseConnection")]
    #[track_caller]
    pub fn shutdown(&self) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.0.shutdown(trigger);
        deferred
    }

    /// Breaks the connection: what was written and has not left is not sent, and whoever waits
    /// fails.
    #[doc(alias = "abortConnection")]
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Turns TCP_NODELAY off, or on again.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.socket.set_nodelay(on)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.local_addr()
    }
}

/// For adapters to what polls, such as hyper's `Read` and `Write`. Do not mix them with Deferreds
/// on the same half.
impl TcpStream {
    /// Lends what has come to `f`, which says how much of it it took. `f` is called once, with an
    /// empty slice at the end of the stream.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        f: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, f)
    }

    /// Takes a copy of the front of `bytes`, unless too much waits to be sent.
    ///
    /// # Errors
    ///
    /// When the connection is broken, or its sending half was shut down.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// As [`poll_write`](TcpStream::poll_write), of several slices.
    ///
    /// # Errors
    ///
    /// As [`poll_write`](TcpStream::poll_write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    /// Ready when the operating system has all that was written.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    /// Ready when that is done and the sending half is shut down.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.0.socket).finish()
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.0.let_go();
    }
}
