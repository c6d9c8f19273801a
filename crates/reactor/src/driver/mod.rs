//! The one seam to the operating system.
//!
//! A driver is given operations and gives completions back. It speaks of completions, not of
//! readiness, because a completion can be made from readiness ([`ready`] does) and never the other
//! way round. What follows from that, and every driver keeps:
//!
//! * An operation owns what it uses, its descriptor and its buffer, until its last completion.
//!   Dropping or cancelling whatever waits for it changes nothing about that (liburing#733).
//! * Every operation ends exactly once, also a cancelled one; [`Driver::cancel`] cannot fail,
//!   and the operation may still end with its own result when that was there first.
//! * A result that carries a resource is always taken up: an accepted socket whose operation was
//!   cancelled meanwhile is delivered all the same.
//! * A receive names no buffer. The driver takes one of its own when data is there, so a million
//!   idle connections hold none.
//! * Nothing blocks but [`Driver::turn`], and what it delivers at once is bounded.

use std::{
    fmt, io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub use self::{
    address::{Address, UnixAddr},
    arena::{Arena, Key},
    buffers::Buffers,
    choice::{Candidate, Choice, Verdict, choice},
    socket::{Socket, SocketKind},
};
pub use crate::jobs::Jobs;

mod address;
mod arena;
mod buffers;
pub(crate) mod choice;
pub mod manual;
pub mod ready;
mod socket;

/// What a reactor asks of the operating system.
pub trait Driver: 'static {
    /// A word for the log: `ready`, `manual`.
    fn name(&self) -> &'static str;

    /// Starts `op`. Its end arrives in a later [`turn`](Driver::turn), also when it could have
    /// ended here: the order of things must not depend on the driver.
    fn submit(&mut self, op: Op) -> Key;

    /// Sends what can be sent without waiting, takes it off `buffers` and says how much that was;
    /// no operation must be sending on `socket`. `None` where everything takes an operation.
    ///
    /// It saves the operation for what nearly always goes out whole. Who is told of it is told in a
    /// later turn all the same: the order of things must not depend on the driver.
    fn send_now(&mut self, socket: &Socket, buffers: &mut Buffers) -> Option<io::Result<usize>> {
        let _ = (socket, buffers);
        None
    }

    /// Asks an operation to end. It completes in a later turn, with [`cancelled`] unless its own
    /// result was there first. A key that names nothing any more is ignored.
    fn cancel(&mut self, key: Key);

    /// How many bytes an operation holds and has not sent; 0 of one that has ended.
    fn unsent(&self, key: Key) -> usize;

    /// Takes up what has ended, at most [`COMPLETIONS_PER_TURN`], and appends it to `completions`.
    /// With nothing to report it waits, at most `wait`, for ever on `None`.
    ///
    /// # Errors
    ///
    /// When the operating system refuses to wait, which ends the reactor; never for one operation.
    fn turn(&mut self, wait: Option<Duration>, completions: &mut Vec<Completion>)
    -> io::Result<()>;

    /// Whether a turn has something to do without waiting.
    fn has_work(&self) -> bool;

    /// The time, which never goes back.
    fn now(&self) -> Instant;

    /// Ends the wait of a turn, from any thread, or the next wait when none is on.
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;

    /// Starts to listen on `addr`.
    ///
    /// # Errors
    ///
    /// Those of `bind` and `listen`: the port is in use, the address is not of this machine.
    fn listen(&mut self, addr: &Address) -> io::Result<Socket>;

    /// A socket for datagrams on `addr`.
    ///
    /// # Errors
    ///
    /// Those of `bind`.
    fn datagrams(&mut self, addr: &Address) -> io::Result<Socket>;

    /// Two Unix sockets that are connected with each other.
    ///
    /// # Errors
    ///
    /// Those of `socketpair`: no descriptor is left.
    fn pair(&mut self, kind: SocketKind) -> io::Result<(Socket, Socket)>;

    /// Takes up a descriptor that was made elsewhere: handed over by whoever started the process,
    /// a child's pipe, a pidfd. It is made non-blocking.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where there are no descriptors. And those of `fcntl`.
    fn adopt(&mut self, fd: OwnedFd, kind: SocketKind) -> io::Result<Socket>;

    /// A socket that receives one byte each time `signal` arrives at the process.
    ///
    /// # Errors
    ///
    /// When the signal cannot be caught.
    fn watch_signal(&mut self, signal: i32) -> io::Result<Socket>;

    /// The descriptor that becomes readable when a turn would have something to do, for another
    /// loop to wait on. `None` where there is no such thing.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// What it holds now.
    fn live(&self) -> Live;

    /// Offers the reactor's queue of jobs to the driver. One that runs them itself (when a test
    /// says so) returns true, and the reactor starts no threads.
    fn adopt_jobs(&mut self, jobs: &Jobs) -> bool {
        let _ = jobs;
        false
    }
}

/// What a driver holds at one moment: all zero when nothing was begun or everything has ended, so
/// what is left over after that was leaked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Operations whose end was not delivered yet.
    pub operations: usize,
    /// Sockets that are not closed, by whomever they are held. The `manual` driver counts those of
    /// the test, and those nobody has accepted yet, too: it is both ends.
    pub sockets: usize,
    /// Bytes that operations hold and have not sent.
    pub unsent: usize,
}

/// An operation, with everything it uses until its end.
#[non_exhaustive]
pub enum Op {
    /// Accepts one connection. Ends in [`Done::Accepted`].
    Accept {
        /// A listening socket.
        listener: Socket,
        /// Whether to wait for a connection; otherwise only one that is there already is taken,
        /// and without one the operation ends with [`io::ErrorKind::WouldBlock`].
        wait: bool,
    },
    /// Connects a stream to an address. Ends in [`Done::Connected`].
    Connect {
        /// Where to.
        to: Address,
    },
    /// Waits until a descriptor is ready, however that is used then. Ends in [`Done::Ready`].
    Poll {
        /// Any socket, or what was adopted.
        socket: Socket,
        /// Ready for what.
        interest: Interest,
    },
    /// Receives what is there, at least one byte, or the end of the stream. Ends in
    /// [`Done::Received`].
    Recv {
        /// A connected socket.
        socket: Socket,
        /// The most to take.
        max: usize,
    },
    /// Receives again and again: each piece is a [`Done::Received`] with
    /// [`more`](Completion::more) to come, until the stream has ended, broke, or the operation is
    /// cancelled, which the last one says.
    RecvMany {
        /// A connected socket.
        socket: Socket,
    },
    /// Receives one datagram. Ends in [`Done::ReceivedFrom`].
    RecvFrom {
        /// A socket for datagrams.
        socket: Socket,
        /// The most to take; what a datagram has beyond that is lost, as the operating system
        /// has it.
        max: usize,
    },
    /// Sends all of the buffers, in order. Ends in [`Done::Sent`], with less than all only when it
    /// was cancelled half-way.
    Send {
        /// A connected socket.
        socket: Socket,
        /// What to send.
        buffers: Buffers,
    },
    /// Sends one datagram, whole. Ends in [`Done::Sent`]. A Unix socket that is named here and has
    /// no room is an error, [`io::ErrorKind::WouldBlock`]: the operating system does not tell
    /// when it has.
    SendTo {
        /// A socket for datagrams.
        socket: Socket,
        /// What to send.
        bytes: Bytes,
        /// Where to; to the other end of a pair where there is none.
        to: Option<Address>,
    },
}

/// What a descriptor shall be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Reading, accepting, or the end of a process.
    Read,
    /// Writing.
    Write,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Accept { listener, wait } => {
                f.debug_struct("Accept").field("on", listener).field("wait", wait).finish()
            }
            Op::Connect { to } => f.debug_struct("Connect").field("to", to).finish(),
            Op::Poll { socket, interest } => {
                f.debug_struct("Poll").field("of", socket).field("for", interest).finish()
            }
            Op::Recv { socket, max } => {
                f.debug_struct("Recv").field("from", socket).field("max", max).finish()
            }
            Op::RecvMany { socket } => f.debug_struct("RecvMany").field("from", socket).finish(),
            Op::RecvFrom { socket, max } => {
                f.debug_struct("RecvFrom").field("from", socket).field("max", max).finish()
            }
            Op::Send { socket, buffers } => {
                f.debug_struct("Send").field("to", socket).field("bytes", &buffers.len()).finish()
            }
            Op::SendTo { socket, bytes, to } => f
                .debug_struct("SendTo")
                .field("from", socket)
                .field("to", to)
                .field("bytes", &bytes.len())
                .finish(),
        }
    }
}

/// How an operation ended.
#[derive(Debug)]
pub struct Completion {
    /// What [`Driver::submit`] returned for it.
    pub key: Key,
    /// Its result.
    pub result: io::Result<Done>,
    /// Whether the operation goes on: this is not its last completion.
    pub more: bool,
}

impl Completion {
    /// The last one of an operation.
    pub(crate) fn last(key: Key, result: io::Result<Done>) -> Self {
        Completion { key, result, more: false }
    }
}

/// What an operation brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum Done {
    /// A connection somebody made to us.
    Accepted(Socket, Address),
    /// The connection we made.
    Connected(Socket),
    /// What was asked for can be done now, or fails at once.
    Ready,
    /// What came; empty at the end of the stream.
    Received(Bytes),
    /// A datagram, and who sent it.
    ReceivedFrom(Bytes, Address),
    /// How many bytes were sent.
    Sent(usize),
}

/// The result of an operation that was asked to end and had none of its own.
pub fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(ECANCELED)
}

/// Whether `error` is [`cancelled`].
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ECANCELED)
}

/// The most completions one turn delivers, so that timers and other threads have their turn.
pub const COMPLETIONS_PER_TURN: usize = 256;

/// The most connections one turn accepts: each one starts work, and a flood of them must not keep
/// those already here waiting.
pub const ACCEPTS_PER_TURN: usize = 64;

/// The most one receive takes.
pub const RECV_MAX: usize = 64 * 1024;

#[cfg(target_os = "linux")]
const ECANCELED: i32 = 125;
#[cfg(not(target_os = "linux"))]
const ECANCELED: i32 = 89;
