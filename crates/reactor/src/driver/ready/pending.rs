//! An operation that has not ended.

use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    rc::Rc,
};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::OsSocket;
use crate::driver::{Address, Buffers, Done, Key, RECV_MAX, Socket, cancelled, socket::Kind};

/// An operation, with everything it uses until its end.
pub(super) struct Pending {
    /// None when it was refused.
    socket: Option<Rc<OsSocket>>,
    /// The one behind it, on the same side.
    next: Option<Key>,
    side: Side,
    work: Work,
}

pub(super) enum Work {
    Accept { wait: bool },
    Connect,
    Poll,
    Recv { max: usize },
    RecvFrom { max: usize },
    Refused,
    Send { buffers: Buffers, sent: usize },
    SendTo(Box<(Bytes, Option<Address>)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Read,
    Write,
}

/// What one try of an operation came to.
pub(super) enum Attempt {
    Accepted(OwnedFd, Address),
    /// Done, and there is nothing more for now.
    Emptied(Done),
    Ended(io::Result<Done>),
    /// Enough for this turn.
    Later,
    /// EAGAIN.
    Nothing,
}

impl Pending {
    pub(super) fn new(socket: Rc<OsSocket>, side: Side, work: Work) -> Self {
        Pending { socket: Some(socket), next: None, side, work }
    }

    pub(super) fn refused() -> Self {
        Pending { socket: None, next: None, side: Side::Read, work: Work::Refused }
    }

    pub(super) fn socket(&self) -> Option<&Rc<OsSocket>> {
        self.socket.as_ref()
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    pub(super) fn next(&self) -> Option<Key> {
        self.next
    }

    pub(super) fn set_next(&mut self, next: Option<Key>) {
        self.next = next;
    }

    pub(super) fn looks(&self) -> bool {
        self.work.looks()
    }

    /// How it ends when it is asked to.
    pub(super) fn cut(&self) -> io::Result<Done> {
        match self.work {
            Work::Send { sent, .. } if sent > 0 => Ok(Done::Sent(sent)),
            _ => Err(cancelled()),
        }
    }

    /// Tries it, once.
    pub(super) fn attempt(&mut self, buffer: &mut [u8]) -> Attempt {
        let socket = self.socket.as_ref().expect("a queued operation has a socket");
        let result = match &mut self.work {
            Work::Accept { .. } => match socket.accept() {
                Ok((fd, from)) => return Attempt::Accepted(fd, from),
                Err(error) => Err(error),
            },
            Work::Connect => match socket.connected() {
                Ok(true) => Ok(Done::Connected(Socket(Kind::Os(socket.clone())))),
                Ok(false) => return Attempt::Nothing,
                Err(error) => Err(error),
            },
            Work::Poll => match is_ready(socket, self.side) {
                Ok(true) => Ok(Done::Ready),
                Ok(false) => return Attempt::Nothing,
                Err(error) => Err(error),
            },
            Work::Recv { max } => {
                let max = (*max).min(RECV_MAX);
                match socket.recv(&mut buffer[..max]) {
                    Ok(n) => {
                        let done = Done::Received(Bytes::copy_from_slice(&buffer[..n]));
                        if n > 0 && n < max {
                            return Attempt::Emptied(done);
                        }
                        Ok(done)
                    }
                    Err(error) => Err(error),
                }
            }
            Work::RecvFrom { max } => {
                let max = (*max).min(RECV_MAX);
                socket
                    .recv_from(&mut buffer[..max])
                    .map(|(n, from)| Done::ReceivedFrom(Bytes::copy_from_slice(&buffer[..n]), from))
            }
            Work::Refused => unreachable!("it is with the finished, not with a source"),
            Work::Send { buffers, sent } => return send(socket, buffers, sent),
            Work::SendTo(datagram) => {
                socket.send_to(&datagram.0, datagram.1.as_ref()).map(Done::Sent)
            }
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Attempt::Nothing,
            result => Attempt::Ended(result),
        }
    }
}

impl Work {
    /// Whether it takes what is there and does not wait.
    pub(super) fn looks(&self) -> bool {
        matches!(self, Work::Accept { wait: false })
    }
}

fn send(socket: &OsSocket, buffers: &mut Buffers, sent: &mut usize) -> Attempt {
    for _ in 0..SENDS_PER_TRY {
        if buffers.is_empty() {
            return Attempt::Ended(Ok(Done::Sent(*sent)));
        }
        match socket.send(buffers) {
            Ok(n) => *sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Attempt::Nothing,
            Err(error) => return Attempt::Ended(Err(error)),
        }
    }
    match buffers.is_empty() {
        true => Attempt::Ended(Ok(Done::Sent(*sent))),
        false => Attempt::Later,
    }
}

fn is_ready(socket: &OsSocket, side: Side) -> io::Result<bool> {
    let flags = match side {
        Side::Read => PollFlags::IN,
        Side::Write => PollFlags::OUT,
    };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(socket, flags)], Some(&now))? > 0)
}

/// A peer that takes as fast as we send must not keep the turn to itself.
const SENDS_PER_TRY: usize = 16;
