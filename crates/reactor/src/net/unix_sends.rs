//! Datagrams to Unix sockets that are named, not connected with.
//!
//! Nothing tells when such a socket has room again, so a driver does not wait for it
//! ([`Op::SendTo`]): these are tried again after a while.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use rustix::net::SocketAddrUnix;
use thence_core::{Failure, Trigger};

use super::{UnixAddr, handout};
use crate::{
    driver::{Done, Key, Op, Socket},
    hub::{Due, Hub, Sink},
    time::later,
};

/// What is to be sent by one socket. One at a time is tried, so that they keep their order; the
/// operation or the timer of that holds this as long as something waits.
pub(super) struct UnixSends {
    hub: Rc<Hub>,
    socket: Socket,
    waiting: RefCell<VecDeque<(Bytes, UnixAddr, Trigger<()>)>>,
    pause: Cell<Duration>,
}

impl UnixSends {
    pub(super) fn new(hub: Rc<Hub>, socket: Socket) -> Rc<Self> {
        let pause = Cell::new(FIRST_PAUSE);
        Rc::new(UnixSends { hub, socket, waiting: RefCell::default(), pause })
    }

    /// The trigger has no hook for a request: it stops at once then, and its datagram is left out
    /// unless the driver has it.
    pub(super) fn send(self: &Rc<Self>, bytes: Bytes, to: UnixAddr, trigger: Trigger<()>) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back((bytes, to, trigger));
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.hub.unsent.set(self.hub.unsent.get() + 1);
            self.go();
        }
    }

    /// Has the driver try the first of them.
    fn go(self: &Rc<Self>) {
        loop {
            self.leave_out_cancelled();
            let waiting = self.waiting.borrow();
            let Some((bytes, to, _)) = waiting.front() else { break };
            let (bytes, to) = (bytes.clone(), Some(to.clone().into()));
            drop(waiting);
            match self
                .hub
                .submit(Op::SendTo { socket: self.socket.clone(), bytes, to }, self.clone())
            {
                Ok(_) => return,
                Err(error) => self.end_first(Err(error)),
            }
        }
        self.hub.unsent.set(self.hub.unsent.get() - 1);
    }

    fn go_later(self: &Rc<Self>) {
        let pause = self.pause.get();
        self.pause.set((pause * 2).min(LONGEST_PAUSE));
        let again = Again(self.clone());
        let go = move |_| Due::Call(Box::new(move || again.0.go()));
        self.hub.at(later(self.hub.now(), pause), go);
    }

    fn leave_out_cancelled(&self) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let cancelled = waiting.front().is_some_and(|(_, _, trigger)| trigger.is_cancelled());
            let first = if cancelled { waiting.pop_front() } else { None };
            drop(waiting);
            let Some((_, _, trigger)) = first else { return };
            handout::stop(trigger);
        }
    }

    fn end_first(&self, result: io::Result<()>) {
        let first = self.waiting.borrow_mut().pop_front();
        let Some((_, to, trigger)) = first else { return };
        match result {
            Ok(()) => trigger.fire(()),
            Err(error) => trigger.fail(Failure::from(error).context(format!("send to {to}"))),
        }
    }

    fn stop(&self) {
        let waiting = self.waiting.take();
        if !waiting.is_empty() {
            self.hub.unsent.set(self.hub.unsent.get() - 1);
        }
        waiting.into_iter().for_each(|(_, _, trigger)| handout::stop(trigger));
    }
}

impl Sink for UnixSends {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return self.go_later();
        }
        self.pause.set(FIRST_PAUSE);
        self.end_first(result.map(drop));
        self.go();
    }

    fn abandoned(&self) {
        self.stop();
    }
}

/// What a timer holds.
struct Again(Rc<UnixSends>);

impl Drop for Again {
    fn drop(&mut self) {
        // The reactor ends, and its timers with it.
        if !self.0.hub.is_alive() {
            self.0.stop();
        }
    }
}

/// What the operating system takes for `to`.
pub(super) fn address(to: &UnixAddr) -> io::Result<SocketAddrUnix> {
    match to {
        #[cfg(target_os = "linux")]
        UnixAddr::Abstract(name) => Ok(SocketAddrUnix::new_abstract_name(name)?),
        UnixAddr::Path(path) => Ok(SocketAddrUnix::new(path)?),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "nobody can be there")),
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
