//! Datagrams to Unix sockets that are not the other end of a pair.
//!
//! Linux cannot wait until such a socket has room: every send that finds none makes the sending
//! socket ready to write again (unix(7), `unix_dgram_sendmsg`), and a driver that tries on each edge
//! would do nothing else. So these are tried without a driver, and after a while again.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use rustix::net::{SendFlags, SocketAddrUnix};
use thence_core::{Failure, Trigger};

use super::{UnixAddr, handout};
use crate::{
    driver::{Done, Key, Socket},
    hub::{Due, Flush, Hub, Sink},
    time::later,
};

/// What is to be sent by one socket, in order. Whatever calls back holds it, so it lives as long as
/// something waits.
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

    /// Sends in the next turn, as a driver would. The trigger has no hook for a request: it stops at
    /// once then, and its datagram is left out.
    pub(super) fn send(self: &Rc<Self>, bytes: Bytes, to: UnixAddr, trigger: Trigger<()>) {
        if !self.hub.is_alive() {
            return trigger.fail(failure(&to, io::Error::other("the reactor of this has ended")));
        }
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back((bytes, to, trigger));
        // Otherwise somebody sees to it already.
        if waiting.len() == 1 {
            self.hub.unsent.set(self.hub.unsent.get() + 1);
            self.hub.tell_later(self.clone());
        }
    }

    /// Sends what there is room for.
    fn go(self: &Rc<Self>) {
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some((bytes, to, trigger)) = waiting.front() else { break };
            let sent = match trigger.is_cancelled() {
                true => Ok(()),
                false => self.try_send(bytes, to),
            };
            if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                drop(waiting);
                return self.go_later();
            }
            let first = waiting.pop_front();
            drop(waiting);
            self.pause.set(FIRST_PAUSE);
            match (first, sent) {
                (Some((_, _, trigger)), Ok(())) => trigger.fire(()),
                (Some((_, to, trigger)), Err(error)) => trigger.fail(failure(&to, error)),
                (None, _) => {}
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

    fn try_send(&self, bytes: &[u8], to: &UnixAddr) -> io::Result<()> {
        let fd = self.socket.as_fd().ok_or(io::ErrorKind::Unsupported)?;
        rustix::net::sendto(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &address(to)?)?;
        Ok(())
    }

    fn stop(&self) {
        let waiting = self.waiting.take();
        if !waiting.is_empty() {
            self.hub.unsent.set(self.hub.unsent.get() - 1);
        }
        waiting.into_iter().for_each(|(_, _, trigger)| handout::stop(trigger));
    }
}

impl Flush for UnixSends {
    fn flush(self: Rc<Self>) {}

    fn told(self: Rc<Self>) {
        self.go();
    }
}

impl Sink for UnixSends {
    fn completed(self: Rc<Self>, _: Key, _: io::Result<Done>) {}

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

fn failure(to: &UnixAddr, error: io::Error) -> Failure {
    Failure::from(error).context(format!("send to {to}"))
}

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
