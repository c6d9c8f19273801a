//! The driver over readiness: epoll or kqueue, through mio.
//!
//! Try first, wait on EAGAIN. A source is registered once, edge triggered, when it first had
//! nothing; registering reports what is ready by then, so nothing falls between the two. An edge
//! does not come twice, hence a source that was stopped by a bound, not by EAGAIN, stays on the
//! list of ready ones and is tried again in the next turn without an edge.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mio::{Events, Interest, Poll, Token, unix::SourceFd};

pub(super) use self::socket::OsSocket;
use self::socket::{Io, Retired};
use super::{
    ACCEPTS_PER_TURN, Arena, Buffers, COMPLETIONS_PER_TURN, Completion, Done, Driver, Key, Op,
    RECV_MAX, Socket, cancelled, socket::Kind,
};

mod socket;

/// The `ready` driver.
pub struct Ready {
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    ops: Arena<Pending>,
    sources: Arena<Source>,
    /// Sides that have an operation and are not known to have nothing, in the order they are tried.
    listed: VecDeque<(Key, Side)>,
    /// Ended without the operating system: refused or cancelled.
    finished: VecDeque<Completion>,
    retired: Retired,
    /// What receives read into before the bytes are copied to a block of their own size: a slice
    /// of a shared block would let one waiting byte hold all 64 KiB of it.
    buffer: Box<[u8]>,
    /// The last turn had completions without asking the operating system.
    skipped_poll: bool,
}

struct Pending {
    socket: Rc<OsSocket>,
    source: Key,
    side: Side,
    work: Work,
}

enum Work {
    Accept { wait: bool },
    Connect,
    Recv { max: usize },
    Refused,
    Send { buffers: Buffers, sent: usize },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Read,
    Write,
}

#[derive(Default)]
struct Source {
    registered: bool,
    read: Direction,
    write: Direction,
}

/// One direction of a source. It is tried when `ready`; `ready` ends with EAGAIN and comes back
/// with an edge.
struct Direction {
    ops: VecDeque<Key>,
    ready: bool,
    listed: bool,
    /// The other end will send no more, which is an edge that has been: a short read says nothing
    /// about what follows.
    closed: bool,
}

/// What one try of an operation came to.
enum Try {
    Done(io::Result<Done>),
    /// EAGAIN.
    Nothing,
    /// Enough for this turn.
    Later,
}

impl Ready {
    /// A driver with nothing to wait for.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left for the poll or its waker.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        Ok(Ready {
            poll,
            events: Events::with_capacity(COMPLETIONS_PER_TURN),
            waker,
            ops: Arena::new(),
            sources: Arena::new(),
            listed: VecDeque::new(),
            finished: VecDeque::new(),
            retired: Retired::default(),
            buffer: vec![0; RECV_MAX].into_boxed_slice(),
            skipped_poll: false,
        })
    }

    fn adopt(&mut self, io: Io) -> Rc<OsSocket> {
        let source = self.sources.insert(Source::default());
        Rc::new(OsSocket::new(io, source, self.retired.clone()))
    }

    fn start(&mut self, socket: Rc<OsSocket>, side: Side, work: Work) -> Key {
        let source = socket.source();
        // What does not wait for an edge has to look for itself.
        let looks = matches!(work, Work::Accept { wait: false });
        let key = self.ops.insert(Pending { socket, source, side, work });
        let direction = self.direction(source, side);
        direction.ops.push_back(key);
        direction.ready |= looks;
        if direction.ready && !direction.listed {
            direction.listed = true;
            self.listed.push_back((source, side));
        }
        key
    }

    /// An operation that ends with `error` in the next turn.
    fn refuse(&mut self, socket: Option<Rc<OsSocket>>, error: io::Error) -> Key {
        let socket = socket.unwrap_or_else(|| self.adopt(Io::None));
        let source = socket.source();
        let key =
            self.ops.insert(Pending { socket, source, side: Side::Read, work: Work::Refused });
        self.finished.push_back(Completion { key, result: Err(error) });
        key
    }

    fn connect(&mut self, addr: SocketAddr) -> Key {
        let stream = match mio::net::TcpStream::connect(addr) {
            Ok(stream) => stream,
            Err(error) => return self.refuse(None, error),
        };
        let socket = self.adopt(Io::Stream(stream));
        let source = socket.source();
        if let Err(error) = self.register(&socket) {
            return self.refuse(Some(socket), error);
        }
        self.direction(source, Side::Write).ready = false;
        self.start(socket, Side::Write, Work::Connect)
    }

    fn direction(&mut self, source: Key, side: Side) -> &mut Direction {
        let source = self.sources.get_mut(source).expect("a source lives as long as its socket");
        match side {
            Side::Read => &mut source.read,
            Side::Write => &mut source.write,
        }
    }

    fn register(&mut self, socket: &OsSocket) -> io::Result<()> {
        let key = socket.source();
        let source = self.sources.get_mut(key).expect("a source lives as long as its socket");
        if source.registered {
            return Ok(());
        }
        let interest = match socket.io() {
            Io::Listener(_) | Io::Signal { .. } => Interest::READABLE,
            Io::None | Io::Stream(_) => Interest::READABLE | Interest::WRITABLE,
        };
        let fd = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), Token(key.index()), interest)?;
        source.registered = true;
        Ok(())
    }

    /// Tries every listed side once round, up to the bounds.
    fn try_listed(&mut self, accepts: &mut usize, completions: &mut Vec<Completion>) {
        for _ in 0..self.listed.len() {
            if completions.len() >= COMPLETIONS_PER_TURN {
                return;
            }
            let Some((source, side)) = self.listed.pop_front() else { return };
            if self.sources.get(source).is_none() {
                continue;
            }
            if self.try_side(source, side, accepts, completions) {
                self.listed.push_back((source, side));
            } else {
                self.direction(source, side).listed = false;
            }
        }
    }

    /// Tries the operations of one side in order; true when it stopped at a bound.
    fn try_side(
        &mut self,
        source: Key,
        side: Side,
        accepts: &mut usize,
        completions: &mut Vec<Completion>,
    ) -> bool {
        loop {
            let direction = self.direction(source, side);
            if !direction.ready {
                return false;
            }
            let Some(&key) = direction.ops.front() else { return false };
            if completions.len() >= COMPLETIONS_PER_TURN || *accepts >= ACCEPTS_PER_TURN {
                return true;
            }
            let result = match self.try_op(key) {
                Try::Done(result) => result,
                Try::Nothing => match self.wait_for_edge(key, source, side, completions) {
                    Ok(()) => return false,
                    Err(error) => Err(error),
                },
                Try::Later => return true,
            };
            self.direction(source, side).ops.pop_front();
            self.ops.remove(key);
            *accepts += usize::from(matches!(result, Ok(Done::Accepted(..))));
            completions.push(Completion { key, result });
        }
    }

    /// There was nothing for `key`.
    #[cold]
    fn wait_for_edge(
        &mut self,
        key: Key,
        source: Key,
        side: Side,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.direction(source, side).ready = false;
        self.end_lookers(source, side, completions);
        let pending = self.ops.get(key).expect("a listed operation is pending");
        let socket = pending.socket.clone();
        self.register(&socket)
    }

    /// Nothing is there: that is the answer for those who do not wait.
    fn end_lookers(&mut self, source: Key, side: Side, completions: &mut Vec<Completion>) {
        let mut waiting = std::mem::take(&mut self.direction(source, side).ops);
        waiting.retain(|key| {
            let pending = self.ops.get(*key);
            if !pending.is_some_and(|op| matches!(op.work, Work::Accept { wait: false })) {
                return true;
            }
            self.ops.remove(*key);
            let result = Err(ErrorKind::WouldBlock.into());
            completions.push(Completion { key: *key, result });
            false
        });
        self.direction(source, side).ops = waiting;
    }

    fn try_op(&mut self, key: Key) -> Try {
        let pending = self.ops.get_mut(key).expect("a listed operation is pending");
        match &mut pending.work {
            Work::Accept { wait } => {
                let wait = *wait;
                match pending.socket.accept() {
                    Ok((stream, addr)) => {
                        let socket = self.adopt(Io::Stream(stream));
                        Try::Done(Ok(Done::Accepted(Socket(Kind::Os(socket)), addr)))
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock && wait => Try::Nothing,
                    Err(error) => Try::Done(Err(error)),
                }
            }
            Work::Connect => match pending.socket.connected() {
                Ok(true) => {
                    Try::Done(Ok(Done::Connected(Socket(Kind::Os(pending.socket.clone())))))
                }
                Ok(false) => Try::Nothing,
                Err(error) => Try::Done(Err(error)),
            },
            Work::Recv { max } => {
                let max = (*max).min(RECV_MAX);
                match pending.socket.recv(&mut self.buffer[..max]) {
                    Ok(n) => {
                        let source = pending.source;
                        let source = self.sources.get_mut(source).expect("of a live socket");
                        // epoll(7): a short read of a stream has emptied it, and what comes later
                        // comes with an edge. It saves the receive that would only say EAGAIN.
                        if n > 0 && n < max && source.registered && !source.read.closed {
                            source.read.ready = false;
                        }
                        Try::Done(Ok(Done::Received(Bytes::copy_from_slice(&self.buffer[..n]))))
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Try::Nothing,
                    Err(error) => Try::Done(Err(error)),
                }
            }
            Work::Refused => unreachable!("it is with the finished, not with a source"),
            Work::Send { buffers, sent } => {
                for _ in 0..SENDS_PER_TRY {
                    if buffers.is_empty() {
                        return Try::Done(Ok(Done::Sent(*sent)));
                    }
                    match pending.socket.send(buffers) {
                        Ok(n) => *sent += n,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Try::Nothing,
                        Err(error) => return Try::Done(Err(error)),
                    }
                }
                match buffers.is_empty() {
                    true => Try::Done(Ok(Done::Sent(*sent))),
                    false => Try::Later,
                }
            }
        }
    }

    fn wait(&mut self, wait: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            // An event of a source that is gone finds the slot empty, or its next owner, who
            // tries once in vain.
            if event.token() == WAKER {
                continue;
            }
            let Some(key) = self.sources.key_at(event.token().0) else { continue };
            let source = self.sources.get_mut(key).expect("key_at names what is there");
            let closed = event.is_read_closed() || event.is_error();
            source.read.closed |= closed;
            if event.is_readable() || closed {
                source.read.edge(key, Side::Read, &mut self.listed);
            }
            if event.is_writable() || event.is_write_closed() || event.is_error() {
                source.write.edge(key, Side::Write, &mut self.listed);
            }
        }
        Ok(())
    }

    fn forget_retired(&mut self) {
        for source in self.retired.take() {
            self.sources.remove(source);
        }
    }
}

impl Driver for Ready {
    fn name(&self) -> &'static str {
        "ready"
    }

    fn submit(&mut self, op: Op) -> Key {
        let (socket, side, work) = match op {
            Op::Accept { listener, wait } => (listener, Side::Read, Work::Accept { wait }),
            Op::Connect { addr } => return self.connect(addr),
            Op::Recv { socket, max } => (socket, Side::Read, Work::Recv { max }),
            Op::Send { socket, buffers } => (socket, Side::Write, Work::Send { buffers, sent: 0 }),
        };
        match socket.0 {
            Kind::Os(socket) => self.start(socket, side, work),
            Kind::Memory(_) => self.refuse(None, ErrorKind::Unsupported.into()),
        }
    }

    fn cancel(&mut self, key: Key) {
        let Some(pending) = self.ops.get(key) else { return };
        let (source, side) = (pending.source, pending.side);
        let direction = self.direction(source, side);
        // Not among them: its end is on the way already.
        let Some(place) = direction.ops.iter().position(|op| *op == key) else { return };
        direction.ops.remove(place);
        let result = match self.ops.get(key).map(|pending| &pending.work) {
            Some(Work::Send { sent, .. }) if *sent > 0 => Ok(Done::Sent(*sent)),
            _ => Err(cancelled()),
        };
        self.finished.push_back(Completion { key, result });
    }

    fn turn(
        &mut self,
        wait: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        while completions.len() < COMPLETIONS_PER_TURN {
            let Some(completion) = self.finished.pop_front() else { break };
            self.ops.remove(completion.key);
            completions.push(completion);
        }
        let mut accepts = 0;
        self.try_listed(&mut accepts, completions);
        self.forget_retired();
        if !completions.is_empty() && !self.skipped_poll {
            // Deliver these first: what they set off may well be tried without a wait again. Every
            // other turn asks the operating system all the same, so nobody is kept waiting.
            self.skipped_poll = true;
            return Ok(());
        }
        self.skipped_poll = false;
        let idle = completions.is_empty() && !self.has_work();
        self.wait(if idle { wait } else { Some(Duration::ZERO) })?;
        self.try_listed(&mut accepts, completions);
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.finished.is_empty() || !self.listed.is_empty()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let waker = self.waker.clone();
        Arc::new(move || {
            // The one way to fail is a full counter, and a counter that is full wakes too.
            let _ = waker.wake();
        })
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let io = Io::listen(addr)?;
        Ok(Socket(Kind::Os(self.adopt(io))))
    }

    fn watch_signal(&mut self, signal: i32) -> io::Result<Socket> {
        let io = Io::signal(signal)?;
        Ok(Socket(Kind::Os(self.adopt(io))))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poll.registry().as_fd())
    }
}

impl Direction {
    fn edge(&mut self, source: Key, side: Side, listed: &mut VecDeque<(Key, Side)>) {
        self.ready = true;
        if !self.listed && !self.ops.is_empty() {
            self.listed = true;
            listed.push_back((source, side));
        }
    }
}

impl Default for Direction {
    fn default() -> Self {
        Direction { ops: VecDeque::new(), ready: true, listed: false, closed: false }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("operations", &self.ops.len())
            .field("sources", &self.sources.len())
            .field("listed", &self.listed.len())
            .finish_non_exhaustive()
    }
}

const WAKER: Token = Token(usize::MAX);

/// A peer that takes as fast as we send must not keep the turn to itself.
const SENDS_PER_TRY: usize = 16;
