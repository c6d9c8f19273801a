//! A stream of bytes to somebody else, whatever carries it.

use std::{
    fmt,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use thence_core::Deferred;

use super::connection::{Connection, Need};
use crate::{
    driver::{Address, Socket},
    hub::Hub,
};

/// A stream of bytes to somebody else: what [`TcpStream`](super::TcpStream),
/// [`UnixStream`](super::UnixStream), a child's pipes and TLS are, each of which derefs to it.
/// Reads and writes are Deferreds, on `&self`.
///
/// * A read that is left or cancelled loses nothing: what came goes to the front of the
///   connection's buffer, and the next read has it.
/// * Reads end in the order they were asked for, and so do writes. A write ends when the operating
///   system has all of it, so that waiting for it is the back-pressure. What is written in one turn
///   goes out together at its end.
/// * A cancelled write is not sent when nothing of it was; otherwise its bytes go on to their end,
///   since half of them would garble the stream.
/// * Clones are the same connection. When the last is dropped it closes, as soon as its writes are
///   out and nobody waits for a read.
///
/// ```
/// use thence_reactor::net::{Transport, UnixStream};
///
/// async fn greet(transport: &Transport) -> Result<(), thence_core::Failure> {
///     transport.write("hello\n").await
/// }
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixStream::pair()?;
/// greet(&here).await?;
/// assert_eq!(there.read_exact(6).await?, "hello\n");
/// # Ok(()) }).unwrap();
/// ```
pub struct Transport(Rc<Connection>);

impl Transport {
    pub(crate) fn new(hub: Rc<Hub>, socket: Socket) -> Self {
        Self::over(Connection::new(hub, socket))
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

    /// How many bytes that were written the operating system does not have yet. While they stay as
    /// many, the other end takes nothing.
    pub fn unsent(&self) -> usize {
        self.0.unsent()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// When the connection is gone, or is none, as a pipe.
    pub fn peer_address(&self) -> io::Result<Address> {
        self.socket()?.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// As [`peer_address`](Transport::peer_address).
    pub fn local_address(&self) -> io::Result<Address> {
        self.socket()?.local_addr()
    }

    pub(super) fn over(connection: Rc<Connection>) -> Self {
        connection.take_up();
        Transport(connection)
    }

    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.0
    }

    pub(super) fn socket(&self) -> io::Result<Socket> {
        self.0.socket().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// For adapters to what polls, such as hyper's `Read` and `Write`. Do not mix them with Deferreds
/// on the same half.
impl Transport {
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

    /// As [`poll_write`](Transport::poll_write), of several slices.
    ///
    /// # Errors
    ///
    /// As [`poll_write`](Transport::poll_write).
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

impl AsRef<Transport> for Transport {
    fn as_ref(&self) -> &Transport {
        self
    }
}

/// For a [`Protocol`](super::Protocol), which gets what comes by its methods.
impl Transport {
    /// Sends `bytes`, after what was written before, with nobody to tell when they are out: if they
    /// cannot be sent, the protocol hears that the connection is broken. After a
    /// [`close`](Transport::close) they are dropped.
    pub fn send(&self, bytes: impl Into<Bytes>) {
        self.0.send_untold(bytes.into());
    }

    /// Receives no more for now, so that the other end has to wait; what is on its way already is
    /// kept. A connection that breaks is told as broken all the same.
    pub fn pause(&self) {
        self.0.pause(true);
    }

    /// Goes on after [`pause`](Transport::pause).
    pub fn resume(&self) {
        self.0.pause(false);
    }

    /// Ends the connection once everything that was sent is out. The other end has a second then to
    /// read it and close.
    #[doc(alias = "loseConnection")]
    pub fn close(&self) {
        self.0.close();
    }

    /// Says how many bytes may wait to be sent before the protocol is told to
    /// [`pause_writing`](super::Protocol::pause_writing), and how few before it is told to
    /// [`resume_writing`](super::Protocol::resume_writing). 64 KiB and 16 KiB unless said.
    pub fn set_water_marks(&self, low: usize, high: usize) {
        self.0.set_water_marks(low, high);
    }
}

impl Clone for Transport {
    fn clone(&self) -> Self {
        Self::over(self.0.clone())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.0.put_down();
    }
}
