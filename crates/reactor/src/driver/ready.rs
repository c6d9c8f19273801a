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
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token, unix::SourceFd};

pub(super) use self::socket::OsSocket;
use self::{
    blocks::Blocks,
    pending::{Attempt, Pending, Side, Work},
    signal::Signal,
    socket::Retired,
    source::Source,
};
use super::{
    ACCEPTS_PER_TURN, Address, Arena, Buffers, COMPLETIONS_PER_TURN, Completion, Done, Driver,
    Interest, Key, Live, Op, Socket, SocketKind, socket::Kind,
};

mod blocks;
mod pending;
mod signal;
mod socket;
mod source;

/// The `ready` driver.
pub struct Ready {
    poll: Poll,
    events: Events,
    /// There may be more than a turn takes, of which no edge of `poll` will tell.
    more_events: bool,
    waker: Arc<mio::Waker>,
    ops: Arena<Pending>,
    sources: Arena<Source>,
    /// Sides that have an operation and are not known to have nothing, in the order they are tried.
    listed: VecDeque<(Key, Side)>,
    /// Ended without the operating system: refused or cancelled.
    finished: VecDeque<Completion>,
    retired: Retired,
    blocks: Blocks,
    /// The last turn had completions without asking the operating system.
    skipped_poll: bool,
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
            more_events: false,
            waker,
            ops: Arena::new(),
            sources: Arena::new(),
            listed: VecDeque::new(),
            finished: VecDeque::new(),
            retired: Retired::default(),
            blocks: Blocks::new(),
            skipped_poll: false,
        })
    }

    fn take_up(&mut self, fd: OwnedFd, kind: SocketKind) -> Rc<OsSocket> {
        let source = self.sources.insert(Source::default());
        Rc::new(OsSocket::new(fd, kind, source, self.retired.clone()))
    }

    fn start(&mut self, socket: Rc<OsSocket>, side: Side, work: Work) -> Key {
        let from = socket.source();
        // What does not wait for an edge has to look for itself.
        let looks = work.looks();
        let key = self.ops.insert(Pending::new(socket, side, work));
        let source = self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET);
        source.side(side).ready |= looks;
        source.queue(side, key, &mut self.ops);
        self.list(from, side);
        key
    }

    /// Has a side tried, when it has an operation and may have something for it.
    fn list(&mut self, from: Key, side: Side) {
        let direction = self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET).side(side);
        if direction.ready && !direction.listed {
            direction.listed = true;
            self.listed.push_back((from, side));
        }
    }

    /// An operation that ends with `error` in the next turn.
    fn refuse(&mut self, error: io::Error) -> Key {
        let key = self.ops.insert(Pending::refused());
        self.finished.push_back(Completion::last(key, Err(error)));
        key
    }

    fn connect(&mut self, to: &Address) -> Key {
        let fd = match socket::connect(to) {
            Ok(fd) => fd,
            Err(error) => return self.refuse(error),
        };
        let socket = self.take_up(fd, SocketKind::Stream);
        let from = socket.source();
        if let Err(error) = self.register(&socket) {
            return self.refuse(error);
        }
        // A Unix socket is connected by now, and has no edge to come.
        let under_way = matches!(to, Address::Ip(_));
        self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET).side(Side::Write).ready = !under_way;
        self.start(socket, Side::Write, Work::Connect)
    }

    fn register(&mut self, socket: &OsSocket) -> io::Result<()> {
        let key = socket.source();
        let source = self.sources.get_mut(key).expect(OF_A_LIVE_SOCKET);
        if source.registered {
            return Ok(());
        }
        let fd = socket.raw_fd();
        let interest = socket.interest();
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
            let Some((from, side)) = self.listed.pop_front() else { return };
            let more = self.try_side(from, side, accepts, completions);
            if more {
                self.listed.push_back((from, side));
            } else if let Some(source) = self.sources.get_mut(from) {
                source.side(side).listed = false;
            }
        }
    }

    /// Tries the operations of one side in order; true when it stopped at a bound.
    fn try_side(
        &mut self,
        from: Key,
        side: Side,
        accepts: &mut usize,
        completions: &mut Vec<Completion>,
    ) -> bool {
        loop {
            let Some(source) = self.sources.get_mut(from) else { return false };
            let direction = source.side(side);
            if !direction.ready {
                return false;
            }
            let Some(key) = direction.first else { return false };
            if completions.len() >= COMPLETIONS_PER_TURN || *accepts >= ACCEPTS_PER_TURN {
                return true;
            }
            let pending = self.ops.get_mut(key).expect("a queued operation is pending");
            let result = match pending.attempt(&mut self.blocks) {
                Attempt::Accepted(fd, peer) => {
                    *accepts += 1;
                    let socket = self.take_up(fd, SocketKind::Stream);
                    Ok(Done::Accepted(Socket(Kind::Os(socket)), peer))
                }
                Attempt::Ended(result) => result,
                Attempt::Emptied(done) => {
                    // epoll(7): a short read of a stream has emptied it, and what comes later
                    // comes with an edge. It saves the receive that would only say EAGAIN.
                    if source.registered && !source.side(side).closed {
                        source.side(side).ready = false;
                    }
                    Ok(done)
                }
                Attempt::Piece(bytes, full) => {
                    // As after a short read; and one piece a turn, however much there is.
                    let emptied = !full && source.registered && !source.side(side).closed;
                    source.side(side).ready = !emptied;
                    let result = Ok(Done::Received(bytes));
                    completions.push(Completion { key, result, more: true });
                    return !emptied;
                }
                Attempt::Nothing => match self.wait_for_edge(key, from, side, completions) {
                    Ok(()) => return false,
                    Err(error) => Err(error),
                },
                Attempt::Later => return true,
            };
            if let Some(source) = self.sources.get_mut(from) {
                source.unqueue_first(side, &self.ops);
            }
            // Its socket may close with it.
            self.ops.remove(key);
            completions.push(Completion::last(key, result));
        }
    }

    /// There was nothing for `key`.
    #[cold]
    fn wait_for_edge(
        &mut self,
        key: Key,
        from: Key,
        side: Side,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.end_lookers(from, side, completions);
        let Some(pending) = self.ops.get(key) else { return Ok(()) };
        let socket = pending.socket().expect("a queued operation has a socket").clone();
        let direction = self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET).side(side);
        if direction.closed && socket.kind() == SocketKind::Listener {
            // It was shut down. An accept of TCP says so; that of a Unix socket has nothing to
            // say, for ever.
            return Err(ErrorKind::InvalidInput.into());
        }
        direction.ready = false;
        self.register(&socket)
    }

    /// Nothing is there: that is the answer for those who do not wait.
    fn end_lookers(&mut self, from: Key, side: Side, completions: &mut Vec<Completion>) {
        let source = self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET);
        let mut next = source.side(side).first;
        let mut lookers = Vec::new();
        while let Some(key) = next {
            let pending = self.ops.get(key).expect("a queued operation is pending");
            next = pending.next();
            if pending.looks() {
                lookers.push(key);
            }
        }
        for key in lookers {
            let source = self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET);
            source.unqueue(side, key, &mut self.ops);
            self.ops.remove(key);
            completions.push(Completion::last(key, Err(ErrorKind::WouldBlock.into())));
        }
    }

    fn wait(&mut self, wait: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        self.more_events = self.events.iter().count() == COMPLETIONS_PER_TURN;
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
        if self.retired.is_empty() {
            return;
        }
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
            Op::Connect { to } => return self.connect(&to),
            Op::Poll { socket, interest: Interest::Read } => (socket, Side::Read, Work::Poll),
            Op::Poll { socket, interest: Interest::Write } => (socket, Side::Write, Work::Poll),
            Op::Recv { socket, max } => (socket, Side::Read, Work::Recv { max }),
            Op::RecvMany { socket } => (socket, Side::Read, Work::RecvMany),
            Op::RecvFrom { socket, max } => (socket, Side::Read, Work::RecvFrom { max }),
            Op::Send { socket, buffers } => (socket, Side::Write, Work::Send { buffers, sent: 0 }),
            Op::SendTo { socket, bytes, to } => {
                (socket, Side::Write, Work::SendTo(Box::new((bytes, to))))
            }
        };
        match socket.0 {
            Kind::Os(socket) => self.start(socket, side, work),
            Kind::Memory(_) => self.refuse(ErrorKind::Unsupported.into()),
        }
    }

    fn send_now(&mut self, socket: &Socket, buffers: &mut Buffers) -> Option<io::Result<usize>> {
        let Kind::Os(socket) = &socket.0 else { return None };
        let side = self.sources.get_mut(socket.source())?.side(Side::Write);
        if !side.ready || side.first.is_some() {
            return None;
        }
        Some(pending::send_some(socket, buffers).map(|(sent, _)| sent))
    }

    fn cancel(&mut self, key: Key) {
        let Some(pending) = self.ops.get(key) else { return };
        let (Some(socket), side) = (pending.socket(), pending.side()) else { return };
        let from = socket.source();
        let result = pending.cut();
        let source = self.sources.get_mut(from).expect(OF_A_LIVE_SOCKET);
        // Not among them: its end is on the way already.
        if source.unqueue(side, key, &mut self.ops) {
            self.finished.push_back(Completion::last(key, result));
        }
    }

    fn unsent(&self, key: Key) -> usize {
        self.ops.get(key).map_or(0, Pending::unsent)
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
        !self.finished.is_empty() || !self.listed.is_empty() || self.more_events
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

    fn listen(&mut self, addr: &Address) -> io::Result<Socket> {
        let fd = socket::listen(addr)?;
        Ok(Socket(Kind::Os(self.take_up(fd, SocketKind::Listener))))
    }

    fn datagrams(&mut self, addr: &Address) -> io::Result<Socket> {
        let fd = socket::datagrams(addr)?;
        Ok(Socket(Kind::Os(self.take_up(fd, SocketKind::Datagram))))
    }

    fn pair(&mut self, kind: SocketKind) -> io::Result<(Socket, Socket)> {
        let (one, two) = socket::pair(kind)?;
        let [one, two] = [one, two].map(|fd| Socket(Kind::Os(self.take_up(fd, kind))));
        Ok((one, two))
    }

    fn adopt(&mut self, fd: OwnedFd, kind: SocketKind) -> io::Result<Socket> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Socket(Kind::Os(self.take_up(fd, kind))))
    }

    fn watch_signal(&mut self, signal: i32) -> io::Result<Socket> {
        let (fd, signal) = Signal::watch(signal)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        let source = self.sources.insert(Source::default());
        let socket = OsSocket::of_signal(fd, signal, source, self.retired.clone());
        Ok(Socket(Kind::Os(Rc::new(socket))))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poll.registry().as_fd())
    }

    fn live(&self) -> Live {
        Live {
            operations: self.ops.len(),
            sockets: self.sources.len() - self.retired.len(),
            unsent: self.ops.iter().map(Pending::unsent).sum(),
        }
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
const OF_A_LIVE_SOCKET: &str = "a source lives as long as its socket";
