//! Sockets for datagrams, whatever their addresses are.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    rc::{Rc, Weak},
};

use bytes::Bytes;
use thence_core::{Failure, Trigger};

use super::{
    handout::{self, Handout, Waiter},
    unix_sends::{self, UnixSends},
};
use crate::{
    driver::{Address, Done, Key, Op, RECV_MAX, Socket, UnixAddr, is_cancelled},
    hub::{Hub, Sink},
};

/// A socket for datagrams, and who waits for them.
pub(super) struct Datagrams<A: Place>(Rc<Inner<A>>);

/// The address of one family.
pub(super) trait Place: Sized + 'static {
    fn of(address: Address) -> io::Result<Self>;
}

/// Who waits for a datagram: for its bytes alone, or also for who sent it.
pub(super) enum Receiver<A: 'static> {
    Bytes(Trigger<Bytes>),
    From(Trigger<(Bytes, A)>),
}

struct Inner<A: Place> {
    hub: Rc<Hub>,
    socket: Socket,
    this: Weak<Self>,
    /// Where it is connected to, on a driver that has no descriptors to connect.
    remembered: RefCell<Option<Address>>,
    handout: RefCell<Handout<io::Result<(Bytes, A)>, Receiver<A>>>,
    op: RefCell<Option<Key>>,
    unix_sends: Rc<UnixSends>,
}

impl<A: Place> Datagrams<A> {
    pub(super) fn new(hub: Rc<Hub>, socket: Socket) -> Self {
        let unix_sends = UnixSends::new(hub.clone(), socket.clone());
        Datagrams(Rc::new_cyclic(|this| Inner {
            hub,
            socket,
            this: this.clone(),
            remembered: RefCell::default(),
            handout: RefCell::default(),
            op: RefCell::default(),
            unix_sends,
        }))
    }

    pub(super) fn recv(&self, receiver: Receiver<A>) {
        self.0.handout.borrow_mut().join(receiver);
        self.0.serve();
    }

    pub(super) fn send(&self, bytes: Bytes, to: Option<Address>, trigger: Trigger<()>) {
        let to = match to.or_else(|| self.0.remembered.borrow().clone()) {
            Some(Address::Unix(to)) => return self.0.unix_sends.send(bytes, to, trigger),
            to => to,
        };
        let hub = &self.0.hub;
        let sending =
            Rc::new(Sending { hub: hub.clone(), to: to.clone(), trigger: RefCell::default() });
        let op = Op::SendTo { socket: self.0.socket.clone(), bytes, to };
        match hub.submit(op, sending.clone()) {
            Ok(key) => {
                hub.unsent.set(hub.unsent.get() + 1);
                let hub = Rc::downgrade(hub);
                trigger.on_cancel(move || {
                    hub.upgrade().into_iter().for_each(|hub| hub.cancel(key));
                });
                sending.trigger.replace(Some(trigger));
            }
            Err(error) => trigger.fail(sending.failure(error)),
        }
    }

    pub(super) fn connect(&self, to: Address) -> io::Result<()> {
        let connected = match (self.0.socket.as_fd(), &to) {
            (None, _) => {
                self.0.remembered.replace(Some(to));
                return Ok(());
            }
            (Some(fd), Address::Ip(to)) => rustix::net::connect(fd, to).map_err(io::Error::from),
            (Some(fd), Address::Unix(to)) => unix_sends::address(to)
                .and_then(|to| rustix::net::connect(fd, &to).map_err(io::Error::from)),
        };
        connected.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot connect to {to}: {error}"))
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<A> {
        A::of(self.0.socket.local_addr()?)
    }

    pub(super) fn peer_addr(&self) -> io::Result<A> {
        match &*self.0.remembered.borrow() {
            Some(address) => A::of(address.clone()),
            None => A::of(self.0.socket.peer_addr()?),
        }
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.socket.as_fd()
    }
}

impl<A: Place> Drop for Datagrams<A> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl<A: Place> Inner<A> {
    /// Gives what is there to whoever waits, in order, and asks the driver for more.
    fn serve(self: &Rc<Self>) {
        loop {
            let mut handout = self.handout.borrow_mut();
            let left = handout.take_left();
            let pair = handout.next_pair();
            let wanted = handout.has_waiters();
            drop(handout);
            left.into_iter().for_each(Receiver::stop);
            if let Some((place, arrived, receiver)) = pair {
                let this = self.this.clone();
                receiver.give(arrived, move |arrived| {
                    // Without a socket nobody can ask for it.
                    let Some(this) = this.upgrade() else { return };
                    this.handout.borrow_mut().put_back(place, arrived);
                    this.serve();
                });
                continue;
            }
            if !wanted || self.op.borrow().is_some() {
                return;
            }
            // Of any length: it may go to somebody else than who waits now.
            let op = Op::RecvFrom { socket: self.socket.clone(), max: RECV_MAX };
            match self.hub.submit(op, self.clone()) {
                Ok(key) => {
                    self.op.replace(Some(key));
                    return;
                }
                Err(error) => self.handout.borrow_mut().push(Err(error)),
            }
        }
    }

    /// What came, unless it is nothing.
    fn arrived(&self, result: io::Result<Done>) -> Option<io::Result<(Bytes, A)>> {
        match result {
            Ok(Done::ReceivedFrom(bytes, from)) => {
                let stranger = self.remembered.borrow().as_ref().is_some_and(|peer| *peer != from);
                if stranger {
                    return None;
                }
                if bytes.len() >= RECV_MAX {
                    let text = format!(
                        "a datagram from {from} has more than the {} bytes that are received at \
                         once; it is lost",
                        RECV_MAX - 1
                    );
                    return Some(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(A::of(from).map(|from| (bytes, from)))
            }
            Ok(_) => None,
            Err(error) if is_cancelled(&error) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The socket is gone: what is pending for nobody ends, now or as soon as the last one leaves.
    fn let_go(&self) {
        let mut handout = self.handout.borrow_mut();
        let left = handout.take_left();
        for receiver in handout.waiters() {
            let this = self.this.clone();
            receiver.when_gone(move || this.upgrade().into_iter().for_each(|this| this.let_go()));
        }
        let idle = self.op.borrow().filter(|_| !handout.has_waiters());
        drop(handout);
        left.into_iter().for_each(Receiver::stop);
        idle.into_iter().for_each(|key| self.hub.cancel(key));
    }
}

impl<A: Place> Sink for Inner<A> {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        self.op.take();
        if let Some(arrived) = self.arrived(result) {
            self.handout.borrow_mut().push(arrived);
        }
        self.serve();
    }

    fn abandoned(&self) {
        self.op.take();
        let waiters = self.handout.borrow_mut().take_waiters();
        waiters.into_iter().for_each(Receiver::stop);
    }
}

impl<A: Place> Drop for Inner<A> {
    fn drop(&mut self) {
        // Whoever still waits here was left: for others an operation is pending and keeps this.
        let waiters = self.handout.borrow_mut().take_waiters();
        waiters.into_iter().for_each(Receiver::stop);
    }
}

impl<A: 'static> Waiter<io::Result<(Bytes, A)>> for Receiver<A> {
    fn is_waiting(&self) -> bool {
        match self {
            Receiver::Bytes(trigger) => handout::is_waiting(trigger),
            Receiver::From(trigger) => handout::is_waiting(trigger),
        }
    }

    fn give(
        self,
        arrived: io::Result<(Bytes, A)>,
        back: impl FnOnce(io::Result<(Bytes, A)>) + 'static,
    ) {
        match (self, arrived) {
            (Receiver::Bytes(trigger), Err(error)) => trigger.fail(received_none(error)),
            (Receiver::From(trigger), Err(error)) => trigger.fail(received_none(error)),
            (Receiver::Bytes(trigger), Ok((bytes, from))) => {
                trigger.on_unclaimed(move |bytes| back(Ok((bytes, from))));
                trigger.fire(bytes);
            }
            (Receiver::From(trigger), Ok(datagram)) => {
                trigger.on_unclaimed(move |datagram| back(Ok(datagram)));
                trigger.fire(datagram);
            }
        }
    }

    fn stop(self) {
        match self {
            Receiver::Bytes(trigger) => handout::stop(trigger),
            Receiver::From(trigger) => handout::stop(trigger),
        }
    }

    fn when_gone(&self, f: impl FnOnce() + Clone + 'static) {
        match self {
            Receiver::Bytes(trigger) => handout::when_gone(trigger, f),
            Receiver::From(trigger) => handout::when_gone(trigger, f),
        }
    }
}

impl Place for SocketAddr {
    fn of(address: Address) -> io::Result<Self> {
        address.ip()
    }
}

impl Place for UnixAddr {
    fn of(address: Address) -> io::Result<Self> {
        address.unix()
    }
}

/// A datagram that is being sent. Its operation has the socket.
struct Sending {
    hub: Rc<Hub>,
    to: Option<Address>,
    trigger: RefCell<Option<Trigger<()>>>,
}

impl Sending {
    fn failure(&self, error: io::Error) -> Failure {
        let failure = Failure::from(error);
        match &self.to {
            Some(to) => failure.context(format!("send to {to}")),
            None => failure.context("send"),
        }
    }

    fn end(&self) -> Option<Trigger<()>> {
        let trigger = self.trigger.take()?;
        self.hub.unsent.set(self.hub.unsent.get() - 1);
        Some(trigger)
    }
}

impl Sink for Sending {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        let Some(trigger) = self.end() else { return };
        match result {
            Ok(_) => trigger.fire(()),
            Err(error) if is_cancelled(&error) => handout::stop(trigger),
            Err(error) => trigger.fail(self.failure(error)),
        }
    }

    fn abandoned(&self) {
        self.end().into_iter().for_each(handout::stop);
    }
}

fn received_none(error: io::Error) -> Failure {
    Failure::from(error).context("receive a datagram")
}
