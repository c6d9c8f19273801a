//! Sockets that are queues of bytes.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind},
    net::Shutdown,
    rc::{Rc, Weak},
};

use bytes::Bytes;

use crate::driver::{Address, SocketKind, UnixAddr};

/// One end of a connection, a listener, or a socket for datagrams.
pub(in crate::driver) struct Memory {
    local: Address,
    role: Role,
    /// Counts it.
    _open: Rc<()>,
}

enum Role {
    Datagrams { queue: RefCell<VecDeque<(Bytes, Address)>>, peer: RefCell<Weak<Memory>> },
    Listener { open: Cell<bool>, queue: RefCell<VecDeque<Rc<Memory>>> },
    Receiver { incoming: Rc<Pipe> },
    Stream { peer: Address, incoming: Rc<Pipe>, outgoing: Rc<Pipe> },
}

/// Whether somebody listens.
pub(super) enum Listening {
    No,
    Yes,
}

/// One direction of a connection.
pub(super) struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    capacity: usize,
    /// The writer will send no more.
    finished: Cell<bool>,
    /// The reader is gone, or the connection was reset.
    broken: Cell<bool>,
}

impl Memory {
    pub(super) fn listener(open: &Rc<()>, local: Address) -> Rc<Self> {
        let role = Role::Listener { open: Cell::new(true), queue: RefCell::default() };
        Rc::new(Memory { local, role, _open: open.clone() })
    }

    pub(super) fn datagrams(open: &Rc<()>, local: Address) -> Rc<Self> {
        let role = Role::Datagrams { queue: RefCell::default(), peer: RefCell::default() };
        Rc::new(Memory { local, role, _open: open.clone() })
    }

    /// Two sockets for datagrams that know each other.
    pub(super) fn datagram_pair(open: &Rc<()>) -> (Rc<Self>, Rc<Self>) {
        let ends = [(); 2].map(|()| Self::datagrams(open, UnixAddr::Unnamed.into()));
        for (one, other) in [(0, 1), (1, 0)] {
            if let Role::Datagrams { peer, .. } = &ends[one].role {
                peer.replace(Rc::downgrade(&ends[other]));
            }
        }
        let [one, two] = ends;
        (one, two)
    }

    pub(super) fn pair(
        open: &Rc<()>,
        a: Address,
        b: Address,
        capacity: usize,
    ) -> (Rc<Self>, Rc<Self>) {
        let (one, two) = (Pipe::new(capacity), Pipe::new(capacity));
        let end = |local: Address, peer: Address, incoming: &Rc<Pipe>, outgoing: &Rc<Pipe>| {
            let role =
                Role::Stream { peer, incoming: incoming.clone(), outgoing: outgoing.clone() };
            Rc::new(Memory { local, role, _open: open.clone() })
        };
        (end(a.clone(), b.clone(), &one, &two), end(b, a, &two, &one))
    }

    pub(super) fn receiver(open: &Rc<()>, incoming: Rc<Pipe>) -> Rc<Self> {
        let role = Role::Receiver { incoming };
        Rc::new(Memory { local: UnixAddr::Unnamed.into(), role, _open: open.clone() })
    }

    pub(in crate::driver) fn kind(&self) -> SocketKind {
        match &self.role {
            Role::Datagrams { .. } => SocketKind::Datagram,
            Role::Listener { .. } => SocketKind::Listener,
            Role::Receiver { .. } | Role::Stream { .. } => SocketKind::Stream,
        }
    }

    pub(in crate::driver) fn local_addr(&self) -> Address {
        self.local.clone()
    }

    pub(in crate::driver) fn peer_addr(&self) -> io::Result<Address> {
        match &self.role {
            Role::Stream { peer, .. } => Ok(peer.clone()),
            Role::Datagrams { peer, .. } if peer.borrow().strong_count() > 0 => {
                Ok(UnixAddr::Unnamed.into())
            }
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    pub(in crate::driver) fn shutdown(&self, how: Shutdown) {
        match &self.role {
            Role::Listener { open, queue } => {
                open.set(false);
                queue.take().iter().for_each(|memory| memory.reset());
            }
            Role::Datagrams { .. } | Role::Receiver { .. } => {}
            Role::Stream { incoming, outgoing, .. } => {
                if how != Shutdown::Read {
                    outgoing.finished.set(true);
                }
                if how != Shutdown::Write {
                    incoming.finished.set(true);
                }
            }
        }
    }

    pub(super) fn queue(&self, memory: Rc<Memory>) -> Listening {
        match &self.role {
            Role::Listener { open, queue } if open.get() => {
                queue.borrow_mut().push_back(memory);
                Listening::Yes
            }
            _ => Listening::No,
        }
    }

    pub(super) fn accept(&self) -> Option<Rc<Memory>> {
        match &self.role {
            Role::Listener { queue, .. } => queue.borrow_mut().pop_front(),
            _ => None,
        }
    }

    /// Whether somebody may connect to it.
    pub(super) fn is_listening(&self) -> bool {
        matches!(&self.role, Role::Listener { open, .. } if open.get())
    }

    pub(super) fn recv(&self, max: usize) -> Option<io::Result<Bytes>> {
        match &self.role {
            Role::Datagrams { .. } | Role::Listener { .. } => {
                Some(Err(ErrorKind::InvalidInput.into()))
            }
            Role::Receiver { incoming } | Role::Stream { incoming, .. } => incoming.read(max),
        }
    }

    /// Takes what fits.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.role {
            Role::Stream { outgoing, .. } if outgoing.broken.get() || outgoing.finished.get() => {
                Err(ErrorKind::BrokenPipe.into())
            }
            Role::Stream { outgoing, .. } => Ok(outgoing.write(bytes)),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn recv_from(&self, max: usize) -> Option<io::Result<(Bytes, Address)>> {
        let Role::Datagrams { queue, .. } = &self.role else {
            return Some(Err(ErrorKind::InvalidInput.into()));
        };
        let (mut bytes, from) = queue.borrow_mut().pop_front()?;
        bytes.truncate(max);
        Some(Ok((bytes, from)))
    }

    /// Takes a datagram that `from` sent; false when there is no room for it now.
    pub(super) fn queue_datagram(&self, bytes: Bytes, from: Address) -> io::Result<bool> {
        let Role::Datagrams { queue, .. } = &self.role else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let mut queue = queue.borrow_mut();
        if queue.len() >= DATAGRAMS {
            return Ok(false);
        }
        queue.push_back((bytes, from));
        Ok(true)
    }

    pub(super) fn has_room(&self) -> bool {
        match &self.role {
            Role::Datagrams { queue, .. } => queue.borrow().len() < DATAGRAMS,
            _ => false,
        }
    }

    /// The other end of a pair.
    pub(super) fn peer(&self) -> Option<Rc<Memory>> {
        match &self.role {
            Role::Datagrams { peer, .. } => peer.borrow().upgrade(),
            _ => None,
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        match &self.role {
            Role::Datagrams { queue, .. } => !queue.borrow().is_empty(),
            Role::Listener { open, queue } => !open.get() || !queue.borrow().is_empty(),
            Role::Receiver { incoming } | Role::Stream { incoming, .. } => {
                incoming.finished.get() || incoming.broken.get() || incoming.len() > 0
            }
        }
    }

    /// Whether all was read and no more will come.
    pub(super) fn is_finished(&self) -> bool {
        match &self.role {
            Role::Stream { incoming, .. } => {
                incoming.finished.get() && !incoming.broken.get() && incoming.len() == 0
            }
            _ => false,
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        match &self.role {
            Role::Stream { outgoing, .. } => {
                outgoing.finished.get()
                    || outgoing.broken.get()
                    || outgoing.len() < outgoing.capacity
            }
            Role::Datagrams { .. } => self.peer().is_none_or(|peer| peer.has_room()),
            _ => true,
        }
    }

    /// Breaks the connection, as a reset does: what was on the way is lost, both ends see an error.
    pub(super) fn reset(&self) {
        if let Role::Stream { incoming, outgoing, .. } = &self.role {
            for pipe in [incoming, outgoing] {
                pipe.bytes.borrow_mut().clear();
                pipe.broken.set(true);
            }
        }
    }

    pub(super) fn is_reset(&self) -> bool {
        matches!(&self.role, Role::Stream { incoming, .. } if incoming.broken.get())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match &self.role {
            Role::Stream { incoming, outgoing, .. } => {
                outgoing.finished.set(true);
                // As TCP does: closing with something unread resets the connection, or the peer
                // would take it for read.
                if incoming.len() > 0 {
                    self.reset();
                }
                incoming.broken.set(true);
            }
            // Closing a listener resets what sits in its queue.
            Role::Listener { queue, .. } => {
                queue.borrow().iter().for_each(|memory| memory.reset());
            }
            Role::Datagrams { .. } | Role::Receiver { .. } => {}
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Datagrams { .. } => write!(f, "memory datagrams {}", self.local),
            Role::Listener { .. } => write!(f, "memory listener {}", self.local),
            Role::Receiver { .. } => f.write_str("memory receiver"),
            Role::Stream { peer, .. } => write!(f, "memory stream {} to {peer}", self.local),
        }
    }
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Pipe {
            bytes: RefCell::default(),
            capacity,
            finished: Cell::new(false),
            broken: Cell::new(false),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    pub(super) fn write(&self, from: &[u8]) -> usize {
        let mut bytes = self.bytes.borrow_mut();
        let room = self.capacity.saturating_sub(bytes.len()).min(from.len());
        bytes.extend(&from[..room]);
        room
    }

    /// `None` when there is nothing yet.
    pub(super) fn read(&self, max: usize) -> Option<io::Result<Bytes>> {
        if self.broken.get() {
            return Some(Err(ErrorKind::ConnectionReset.into()));
        }
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() {
            return self.finished.get().then(|| Ok(Bytes::new()));
        }
        let taken = bytes.len().min(max);
        Some(Ok(bytes.drain(..taken).collect()))
    }
}

/// How many datagrams wait in memory, as many as a small receive buffer of Linux holds.
const DATAGRAMS: usize = 256;
