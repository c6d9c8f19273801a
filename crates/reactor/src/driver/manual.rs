//! The driver for tests: a clock that is set, sockets in memory, jobs that run when told.
//!
//! It never sleeps and never asks the operating system. What a program waits for happens because
//! the test did it ([`Manual::advance`], [`Peer::send`], [`Manual::run_job`]) or because the
//! reactor had nothing left to do: when a turn would wait, a queued job runs, and when there is
//! none the clock jumps to the end of the wait. So a program under `run` simply works, in no time,
//! and a test that wants to choose the moment takes turns that do not wait.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{BorrowedFd, OwnedFd},
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(super) use self::memory::Memory;
use self::memory::{Listening, Pipe};
pub use self::peer::{Peer, PeerDatagrams, PeerListener};
use super::{
    ACCEPTS_PER_TURN, Address, Arena, COMPLETIONS_PER_TURN, Completion, Done, Driver, Interest,
    Key, Live, Op, RECV_MAX, Socket, SocketKind, UnixAddr, cancelled, socket::Kind,
};
use crate::jobs::Jobs;

mod memory;
mod peer;

/// The `manual` driver, and the hand that moves it: clones are the same.
///
/// ```
/// use std::time::Duration;
/// use thence_reactor::driver::manual::Manual;
///
/// let manual = Manual::new();
/// let before = manual.now();
/// manual.advance(Duration::from_secs(3600));
/// assert_eq!(manual.now() - before, Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Manual(Rc<RefCell<World>>);

struct World {
    now: Instant,
    ops: Arena<Pending>,
    /// What is pending, in the order it was submitted.
    order: VecDeque<Key>,
    finished: VecDeque<Completion>,
    /// What a new connection finds, and what a datagram.
    listeners: HashMap<Address, Weak<Memory>>,
    datagrams: HashMap<Address, Weak<Memory>>,
    signals: Vec<(i32, Rc<Pipe>)>,
    /// Every socket has a clone, which counts them.
    open: Rc<()>,
    jobs: Option<Jobs>,
    woken: Arc<AtomicBool>,
    next_port: u16,
    capacity: usize,
    recv_max: usize,
}

struct Pending {
    op: Op,
    sent: usize,
    /// Its completion is on the way.
    ended: bool,
}

impl Pending {
    fn unsent(&self) -> usize {
        match &self.op {
            Op::Send { buffers, .. } => buffers.len(),
            Op::SendTo { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

impl Manual {
    /// A world with nothing in it.
    pub fn new() -> Self {
        Manual(Rc::new(RefCell::new(World {
            now: Instant::now(),
            ops: Arena::new(),
            order: VecDeque::new(),
            finished: VecDeque::new(),
            listeners: HashMap::new(),
            datagrams: HashMap::new(),
            signals: Vec::new(),
            open: Rc::new(()),
            jobs: None,
            woken: Arc::new(AtomicBool::new(false)),
            next_port: FIRST_PORT,
            capacity: RECV_MAX,
            recv_max: RECV_MAX,
        })))
    }

    /// The time of this world.
    pub fn now(&self) -> Instant {
        self.0.borrow().now
    }

    /// Lets time pass. Timers that are due fire in the reactor's next turn.
    pub fn advance(&self, by: Duration) {
        self.0.borrow_mut().now += by;
    }

    /// How many bytes a connection made from now on holds in each direction before its writer has
    /// to wait. 64 KiB unless said.
    pub fn set_capacity(&self, bytes: usize) {
        self.0.borrow_mut().capacity = bytes.max(1);
    }

    /// The most one receive takes from now on, to cut a stream into small pieces.
    pub fn set_recv_max(&self, bytes: usize) {
        self.0.borrow_mut().recv_max = bytes.clamp(1, RECV_MAX);
    }

    /// Connects to a listener of the reactor, as somebody outside of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConnectionRefused`] when nobody listens there.
    pub fn connect(&self, to: impl Into<Address>) -> io::Result<Peer> {
        Ok(Peer::new(self.0.borrow_mut().connect(&to.into())?))
    }

    /// Listens, as somebody outside of the reactor. Port 0 takes one that is free.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddrInUse`] when somebody listens there.
    pub fn listen(&self, addr: impl Into<Address>) -> io::Result<PeerListener> {
        Ok(PeerListener::new(self.0.borrow_mut().listen(&addr.into())?))
    }

    /// A socket for datagrams of somebody outside of the reactor.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddrInUse`] when somebody has that address.
    pub fn datagrams(&self, addr: impl Into<Address>) -> io::Result<PeerDatagrams> {
        let memory = self.0.borrow_mut().bind_datagrams(&addr.into())?;
        Ok(PeerDatagrams::new(self.clone(), memory))
    }

    /// Lets `signal` arrive. Returns how many wait for it.
    pub fn raise(&self, signal: i32) -> usize {
        let mut world = self.0.borrow_mut();
        world.signals.retain(|(_, pipe)| Rc::strong_count(pipe) > 1);
        let mut told = 0;
        for (_, pipe) in world.signals.iter().filter(|(number, _)| *number == signal) {
            told += pipe.write(&[SIGNAL_BYTE]);
        }
        told
    }

    /// Runs the oldest job that was offloaded and has not run, on this thread; false when there is
    /// none.
    pub fn run_job(&self) -> bool {
        let jobs = self.0.borrow().jobs.clone();
        jobs.is_some_and(|jobs| jobs.run_one())
    }

    /// How many jobs wait to be run.
    pub fn jobs_waiting(&self) -> usize {
        self.0.borrow().jobs.as_ref().map_or(0, Jobs::waiting)
    }
}

impl Driver for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    fn submit(&mut self, op: Op) -> Key {
        let mut world = self.0.borrow_mut();
        let key = world.ops.insert(Pending { op, sent: 0, ended: false });
        world.order.push_back(key);
        key
    }

    fn cancel(&mut self, key: Key) {
        let mut world = self.0.borrow_mut();
        let Some(pending) = world.ops.get_mut(key) else { return };
        if pending.ended {
            return;
        }
        pending.ended = true;
        let result = match pending.sent {
            0 => Err(cancelled()),
            sent => Ok(Done::Sent(sent)),
        };
        world.finished.push_back(Completion::last(key, result));
        world.order.retain(|pending| *pending != key);
    }

    fn unsent(&self, key: Key) -> usize {
        self.0.borrow().ops.get(key).map_or(0, Pending::unsent)
    }

    fn turn(
        &mut self,
        wait: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let woken = {
            let mut world = self.0.borrow_mut();
            world.complete(completions);
            world.woken.swap(false, Ordering::Acquire)
        };
        if woken || !completions.is_empty() || wait == Some(Duration::ZERO) {
            return Ok(());
        }
        // The reactor runs it, after this turn: a job must not run inside the driver.
        if self.0.borrow().jobs.as_ref().is_some_and(Jobs::let_one_run) {
            return Ok(());
        }
        match wait {
            Some(wait) => {
                self.advance(wait);
                Ok(())
            }
            None => Err(io::Error::other(
                "nothing can happen any more: no operation can end, no timer is set and no job \
                 waits; whoever was to end this wait is gone, or the test has to act",
            )),
        }
    }

    fn has_work(&self) -> bool {
        let world = self.0.borrow();
        !world.finished.is_empty() || world.order.iter().any(|key| world.is_ready(*key))
    }

    fn now(&self) -> Instant {
        Manual::now(self)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let woken = self.0.borrow().woken.clone();
        Arc::new(move || woken.store(true, Ordering::Release))
    }

    fn listen(&mut self, addr: &Address) -> io::Result<Socket> {
        Ok(Socket(Kind::Memory(self.0.borrow_mut().listen(addr)?)))
    }

    fn datagrams(&mut self, addr: &Address) -> io::Result<Socket> {
        Ok(Socket(Kind::Memory(self.0.borrow_mut().bind_datagrams(addr)?)))
    }

    fn pair(&mut self, kind: SocketKind) -> io::Result<(Socket, Socket)> {
        let unnamed = Address::from(UnixAddr::Unnamed);
        let (one, two) = match kind {
            SocketKind::Datagram => Memory::datagram_pair(&self.0.borrow().open),
            SocketKind::Stream => {
                let world = self.0.borrow();
                Memory::pair(&world.open, unnamed.clone(), unnamed, world.capacity)
            }
            _ => return Err(ErrorKind::InvalidInput.into()),
        };
        Ok((Socket(Kind::Memory(one)), Socket(Kind::Memory(two))))
    }

    fn adopt(&mut self, _: OwnedFd, _: SocketKind) -> io::Result<Socket> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "the manual driver has no descriptors: children, and sockets of elsewhere, need `ready`",
        ))
    }

    fn watch_signal(&mut self, signal: i32) -> io::Result<Socket> {
        let mut world = self.0.borrow_mut();
        world.signals.retain(|(_, pipe)| Rc::strong_count(pipe) > 1);
        let pipe = Pipe::new(RECV_MAX);
        world.signals.push((signal, pipe.clone()));
        Ok(Socket(Kind::Memory(Memory::receiver(&world.open, pipe))))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn live(&self) -> Live {
        let world = self.0.borrow();
        Live {
            operations: world.ops.len(),
            // The world has one of its own.
            sockets: Rc::strong_count(&world.open) - 1,
            unsent: world.ops.iter().map(Pending::unsent).sum(),
        }
    }

    fn adopt_jobs(&mut self, jobs: &Jobs) -> bool {
        self.0.borrow_mut().jobs = Some(jobs.clone());
        true
    }
}

impl World {
    /// Ends what can end, in order.
    fn complete(&mut self, completions: &mut Vec<Completion>) {
        while completions.len() < COMPLETIONS_PER_TURN {
            let Some(completion) = self.finished.pop_front() else { break };
            self.ops.remove(completion.key);
            completions.push(completion);
        }
        let mut accepts = 0;
        for _ in 0..self.order.len() {
            let Some(key) = self.order.pop_front() else { break };
            let full = completions.len() >= COMPLETIONS_PER_TURN || accepts >= ACCEPTS_PER_TURN;
            let tried = if full { None } else { self.try_op(key) };
            match tried {
                Some(Ok(Done::Received(bytes))) if !bytes.is_empty() && self.goes_on(key) => {
                    let result = Ok(Done::Received(bytes));
                    completions.push(Completion { key, result, more: true });
                    self.order.push_back(key);
                }
                Some(result) => {
                    accepts += usize::from(matches!(result, Ok(Done::Accepted(..))));
                    self.ops.remove(key);
                    completions.push(Completion::last(key, result));
                }
                None => self.order.push_back(key),
            }
        }
    }

    /// Whether an operation goes on after a piece.
    fn goes_on(&self, key: Key) -> bool {
        self.ops.get(key).is_some_and(|pending| matches!(pending.op, Op::RecvMany { .. }))
    }

    fn try_op(&mut self, key: Key) -> Option<io::Result<Done>> {
        let recv_max = self.recv_max;
        let pending = self.ops.get_mut(key)?;
        match &mut pending.op {
            Op::Connect { to } => {
                let to = to.clone();
                let connected = self.connect(&to);
                Some(connected.map(|memory| Done::Connected(Socket(Kind::Memory(memory)))))
            }
            Op::Accept { listener: Socket(Kind::Memory(memory)), wait } => match memory.accept() {
                Some(accepted) => {
                    let addr = accepted.peer_addr().expect("an accepted socket has a peer");
                    Some(Ok(Done::Accepted(Socket(Kind::Memory(accepted)), addr)))
                }
                None if !memory.is_listening() => Some(Err(ErrorKind::InvalidInput.into())),
                None if *wait => None,
                None => Some(Err(ErrorKind::WouldBlock.into())),
            },
            Op::Poll { socket: Socket(Kind::Memory(memory)), interest } => {
                is_ready_for(memory, *interest).then_some(Ok(Done::Ready))
            }
            Op::RecvFrom { socket: Socket(Kind::Memory(memory)), max } => memory
                .recv_from((*max).min(RECV_MAX))
                .map(|result| result.map(|(bytes, from)| Done::ReceivedFrom(bytes, from))),
            Op::SendTo { socket: Socket(Kind::Memory(memory)), bytes, to } => {
                let (from, bytes, to) = (memory.clone(), bytes.clone(), to.clone());
                match self.send_datagram(&from, bytes, to.as_ref()) {
                    Ok(None) if matches!(to, Some(Address::Unix(_))) => {
                        Some(Err(ErrorKind::WouldBlock.into()))
                    }
                    sent => sent.transpose(),
                }
            }
            Op::Recv { socket: Socket(Kind::Memory(memory)), max } => {
                memory.recv((*max).min(recv_max)).map(|result| result.map(Done::Received))
            }
            Op::RecvMany { socket: Socket(Kind::Memory(memory)) } => {
                memory.recv(recv_max).map(|result| result.map(Done::Received))
            }
            Op::Send { socket: Socket(Kind::Memory(memory)), buffers } => loop {
                if buffers.is_empty() {
                    break Some(Ok(Done::Sent(pending.sent)));
                }
                match memory.send(buffers.first()) {
                    Ok(0) => break None,
                    Ok(n) => {
                        pending.sent += n;
                        buffers.advance(n);
                    }
                    Err(error) => break Some(Err(error)),
                }
            },
            _ => Some(Err(ErrorKind::Unsupported.into())),
        }
    }

    fn is_ready(&self, key: Key) -> bool {
        match self.ops.get(key).map(|pending| &pending.op) {
            Some(Op::Accept { listener: Socket(Kind::Memory(memory)), wait }) => {
                !wait || memory.kind() != SocketKind::Listener || memory.is_readable()
            }
            Some(Op::Poll { socket: Socket(Kind::Memory(memory)), interest }) => {
                is_ready_for(memory, *interest)
            }
            Some(
                Op::Recv { socket: Socket(Kind::Memory(memory)), .. }
                | Op::RecvMany { socket: Socket(Kind::Memory(memory)) },
            ) => memory.kind() != SocketKind::Stream || memory.is_readable(),
            Some(Op::RecvFrom { socket: Socket(Kind::Memory(memory)), .. }) => {
                memory.kind() != SocketKind::Datagram || memory.is_readable()
            }
            Some(Op::SendTo { socket: Socket(Kind::Memory(memory)), to, .. }) => {
                matches!(to, Some(Address::Unix(_)))
                    || self.recipient(memory, to.as_ref()).is_none_or(|to| to.has_room())
            }
            Some(Op::Send { socket: Socket(Kind::Memory(memory)), buffers }) => {
                memory.kind() != SocketKind::Stream || memory.is_writable() || buffers.is_empty()
            }
            Some(_) => true,
            None => false,
        }
    }

    fn listen(&mut self, addr: &Address) -> io::Result<Rc<Memory>> {
        let addr = self.with_port(addr);
        self.listeners.retain(|_, memory| memory.strong_count() > 0);
        if self.listeners.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let memory = Memory::listener(&self.open, addr.clone());
        self.listeners.insert(addr, Rc::downgrade(&memory));
        Ok(memory)
    }

    fn bind_datagrams(&mut self, addr: &Address) -> io::Result<Rc<Memory>> {
        let addr = self.with_port(addr);
        self.datagrams.retain(|_, memory| memory.strong_count() > 0);
        if self.datagrams.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let memory = Memory::datagrams(&self.open, addr.clone());
        if addr != UnixAddr::Unnamed.into() {
            self.datagrams.insert(addr, Rc::downgrade(&memory));
        }
        Ok(memory)
    }

    /// `Ok(None)` when there is no room for it yet. As with UDP, one that nobody receives is lost.
    fn send_datagram(
        &self,
        from: &Rc<Memory>,
        bytes: Bytes,
        to: Option<&Address>,
    ) -> io::Result<Option<Done>> {
        if from.kind() != SocketKind::Datagram {
            return Err(ErrorKind::InvalidInput.into());
        }
        let len = bytes.len();
        match (self.recipient(from, to), to) {
            (Some(recipient), _) => {
                let taken = recipient.queue_datagram(bytes, from.local_addr())?;
                Ok(taken.then_some(Done::Sent(len)))
            }
            (None, Some(Address::Ip(_))) => Ok(Some(Done::Sent(len))),
            (None, Some(Address::Unix(_))) => Err(ErrorKind::ConnectionRefused.into()),
            (None, None) => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn recipient(&self, from: &Memory, to: Option<&Address>) -> Option<Rc<Memory>> {
        match to {
            None => from.peer(),
            Some(to) => self.datagrams.get(to).and_then(Weak::upgrade),
        }
    }

    fn with_port(&mut self, addr: &Address) -> Address {
        match addr {
            Address::Ip(ip) if ip.port() == 0 => Address::Ip(SocketAddr::new(ip.ip(), self.port())),
            addr => addr.clone(),
        }
    }

    /// Makes both ends, queues one at the listener and gives the other.
    fn connect(&mut self, to: &Address) -> io::Result<Rc<Memory>> {
        let listener = self.listeners.get(to).and_then(Weak::upgrade);
        let listener = listener.ok_or(ErrorKind::ConnectionRefused)?;
        let from = match to {
            Address::Ip(_) => {
                Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port()))
            }
            Address::Unix(_) => UnixAddr::Unnamed.into(),
        };
        let (ours, theirs) = Memory::pair(&self.open, from, to.clone(), self.capacity);
        match listener.queue(theirs) {
            Listening::Yes => Ok(ours),
            Listening::No => Err(ErrorKind::ConnectionRefused.into()),
        }
    }

    fn port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        self.next_port
    }
}

fn is_ready_for(memory: &Memory, interest: Interest) -> bool {
    match interest {
        Interest::Read => memory.is_readable(),
        Interest::Write => memory.is_writable(),
    }
}

impl Default for Manual {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.0.borrow();
        f.debug_struct("Manual")
            .field("operations", &world.ops.len())
            .field("listeners", &world.listeners.len())
            .finish_non_exhaustive()
    }
}

const FIRST_PORT: u16 = 49152;
const SIGNAL_BYTE: u8 = b'X';
