//! The other style: a value whose methods are called as things happen to a connection.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use thence_core::{Deferred, Failure, flow};

use super::Transport;
use crate::sleep::{Sleep, sleep};

/// What is done with a connection, method by method: the style of callbacks, where
/// [`read`](Transport::read) and [`write`](Transport::write) are the style of Deferreds. It costs
/// less: nothing is allocated for a message but its bytes.
///
/// [`drive`] gives it a connection. Each method is a callback, or part of one: none runs inside
/// another, and a panic in one ends this connection and nothing else. They get the connection's
/// [`Transport`] to [`send`](Transport::send) on, to [`pause`](Transport::pause) it, to
/// [`close`](Transport::close) it. Do not read from it beside the protocol.
///
/// ```
/// use bytes::Bytes;
/// use thence_reactor::net::{Protocol, TcpListener, TcpStream, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn received(&mut self, transport: &Transport, bytes: Bytes) {
///         transport.send(bytes);
///     }
/// }
/// # thence_reactor::run(async {
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr();
/// listener.serve(|_from| Echo).report();
///
/// let stream = TcpStream::connect(addr).await?;
/// stream.write("hello").await?;
/// assert_eq!(stream.read_exact(5).await?, "hello");
/// # Ok(()) }).unwrap();
/// ```
#[expect(unused_variables, reason = "the names are for who implements them")]
pub trait Protocol: 'static {
    /// The connection is there.
    #[doc(alias = "connectionMade")]
    fn connected(&mut self, transport: &Transport) {}

    /// Something came.
    #[doc(alias = "dataReceived")]
    fn received(&mut self, transport: &Transport, bytes: Bytes);

    /// The other end will send no more, though it may still read. Closes, unless said otherwise.
    #[doc(alias = "eof_received")]
    fn finished(&mut self, transport: &Transport) {
        transport.close();
    }

    /// More waits to be sent than the high water mark allows. What is sent all the same is taken;
    /// whoever produces it should stop, and may [`pause`](Transport::pause) what makes it do so.
    ///
    /// Unless said otherwise this pauses the connection itself, so that a peer that sends and does
    /// not read is not read from either.
    #[doc(alias = "pauseProducing")]
    fn pause_writing(&mut self, transport: &Transport) {
        transport.pause();
    }

    /// What waits to be sent has come down to the low water mark.
    #[doc(alias = "resumeProducing")]
    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume();
    }

    /// The reactor drains. Closes, unless said otherwise: a protocol that has to finish something
    /// first closes when it has, and the run waits for that up to its deadline.
    fn draining(&mut self, transport: &Transport) {
        transport.close();
    }

    /// The connection is gone, and nothing follows: with `Ok` when it was closed, else with what
    /// broke it, such as the [cancelled](Deferred::cancel) Deferred of [`drive`].
    #[doc(alias = "connectionLost")]
    fn closed(&mut self, how: &Result<(), Failure>) {}
}

/// Gives a connection to a protocol, whose methods are called until it is gone.
///
/// The Deferred ends then. Cancelled, it breaks the connection; left, the connection goes on.
///
/// ```
/// # use bytes::Bytes;
/// # use thence_reactor::net::{Protocol, Transport, UnixStream, drive};
/// struct Count(usize);
///
/// impl Protocol for Count {
///     fn received(&mut self, _: &Transport, bytes: Bytes) {
///         self.0 += bytes.len();
///     }
///
///     fn finished(&mut self, transport: &Transport) {
///         transport.send(format!("{} bytes", self.0));
///         transport.close();
///     }
/// }
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixStream::pair()?;
/// let counting = drive(there, Count(0));
/// here.write("some words").await?;
/// here.shutdown().await?;
/// assert_eq!(here.read(100).await?, "10 bytes");
/// counting.await?;
/// # Ok(()) }).unwrap();
/// ```
///
/// # Errors
///
/// The Deferred fails with what broke the connection.
///
/// # Panics
///
/// When this thread has no reactor.
#[track_caller]
pub fn drive(stream: impl Into<Transport>, protocol: impl Protocol) -> Deferred<()> {
    let mut driver = Driver::new(stream.into(), protocol);
    flow(poll_fn(move |cx| driver.poll(cx)))
}

/// A protocol, its connection, and how far they are.
struct Driver<P: Protocol> {
    /// Until it is told of its end outside of here.
    protocol: Option<P>,
    transport: Transport,
    /// Kept, so that the connection need not take another one each time.
    waker: Option<Waker>,
    told: Told,
    ending: Ending,
}

/// What the protocol knows by now.
#[derive(Default)]
struct Told {
    draining: bool,
    finished: bool,
    closed: bool,
    /// It is being told, and has panicked if this stays.
    telling: bool,
}

/// How far the end of a connection is.
enum Ending {
    No,
    /// What was written goes out.
    Sends,
    /// The other end may read it and close first: closing over bytes that nobody read resets the
    /// connection, and takes what is on its way with it.
    Lingers(Pin<Box<Sleep>>),
}

impl<P: Protocol> Driver<P> {
    fn new(transport: Transport, protocol: P) -> Self {
        let (protocol, told, ending) = (Some(protocol), Told::default(), Ending::No);
        Driver { protocol, transport, waker: None, told, ending }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let how = ready!(self.poll_to_end(cx));
        self.told.closed = true;
        self.tell(|protocol, _| protocol.closed(&how));
        Poll::Ready(how)
    }

    fn poll_to_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.waker.is_none() {
            self.waker = Some(cx.waker().clone());
            self.transport.connection().begin_protocol(cx.waker().clone());
            self.tell(P::connected);
        }
        for _ in 0..PIECES_PER_POLL {
            if !matches!(self.ending, Ending::No) {
                return self.end(cx);
            }
            match self.transport.connection().news() {
                News::Nothing => return Poll::Pending,
                News::Bytes(bytes) => self.tell(|protocol, to| protocol.received(to, bytes)),
                News::Broken(error) => return Poll::Ready(Err(error.into())),
                News::Closing => self.ending = Ending::Sends,
                News::Draining if self.told.draining => {}
                News::Draining => {
                    self.told.draining = true;
                    self.tell(P::draining);
                }
                News::Finished if self.told.finished => return Poll::Pending,
                News::Finished => {
                    self.told.finished = true;
                    self.tell(P::finished);
                }
                News::Full => self.tell(P::pause_writing),
                News::Room => self.tell(P::resume_writing),
            }
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn tell(&mut self, what: impl FnOnce(&mut P, &Transport)) {
        let Some(protocol) = &mut self.protocol else { return };
        self.told.telling = true;
        what(protocol, &self.transport);
        self.told.telling = false;
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let connection = self.transport.connection();
        if let Ending::Sends = self.ending {
            ready!(connection.poll_shutdown(cx))?;
            self.ending = Ending::Lingers(Box::pin(sleep(LINGER)));
        }
        let Ending::Lingers(patience) = &mut self.ending else { return Poll::Pending };
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut over = false;
            let read = connection.poll_read(cx, &mut |bytes| {
                over = bytes.is_empty();
                bytes.len()
            });
            match ready!(read) {
                Ok(_) if !over => {}
                // However it ended: it was over before.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<P: Protocol> Drop for Driver<P> {
    fn drop(&mut self) {
        let connection = self.transport.connection();
        connection.end_protocol();
        // Half a conversation is no use to anybody.
        if !matches!(self.ending, Ending::Lingers(_)) {
            connection.abort();
        }
        connection.release();
        let tells = self.waker.is_some() && !self.told.closed && !self.told.telling;
        let Some(mut protocol) = self.protocol.take().filter(|_| tells) else { return };
        // Whoever cancels it may be in a callback: this is one of its own, after that.
        flow::<()>(async move {
            protocol.closed(&Err(Failure::msg("the protocol was cancelled")));
            Ok(())
        })
        .report();
    }
}

/// What a connection has for its protocol.
pub(super) enum News {
    Broken(io::Error),
    Bytes(Bytes),
    Closing,
    Draining,
    Finished,
    Full,
    Nothing,
    Room,
}

const PIECES_PER_POLL: usize = 16;

/// How long the other end has to read the rest and close.
const LINGER: Duration = Duration::from_secs(1);
