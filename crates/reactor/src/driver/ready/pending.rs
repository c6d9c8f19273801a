//! An operation that has not ended.

use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    rc::Rc,
};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{OsSocket, blocks::Blocks};
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
    RecvMany,
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
    /// A piece, after which the operation goes on; and whether there may be another now.
    Piece(Bytes, bool),
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

    /// How many bytes it holds and has not sent.
    pub(super) fn unsent(&self) -> usize {
        match &self.work {
            Work::Send { buffers, .. } => buffers.len(),
            Work::SendTo(datagram) => datagram.0.len(),
            _ => 0,
        }
    }

    /// How it ends when it is asked to.
    pub(super) fn cut(&self) -> io::Result<Done> {
        match self.work {
            Work::Send { sent, .. } if sent > 0 => Ok(Done::Sent(sent)),
            _ => Err(cancelled()),
        }
    }

    /// Tries it, once.
    pub(super) fn attempt(&mut self, blocks: &mut Blocks) -> Attempt {
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
                match blocks.fill(max, |buffer| socket.recv(buffer)) {
                    Ok(bytes) if !bytes.is_empty() && bytes.len() < max => {
                        return Attempt::Emptied(Done::Received(bytes));
                    }
                    other => other.map(Done::Received),
                }
            }
            Work::RecvMany => match blocks.fill_whole(|buffer| socket.recv_into(buffer)) {
                Ok(bytes) if !bytes.is_empty() => {
                    let full = bytes.len() >= RECV_MAX;
                    return Attempt::Piece(bytes, full);
                }
                other => other.map(Done::Received),
            },
            Work::RecvFrom { max } => {
                let mut sender = None;
                let filled = blocks.fill((*max).min(RECV_MAX), |buffer| {
                    let (n, from) = socket.recv_from(buffer)?;
                    sender = Some(from);
                    Ok(n)
                });
                filled.map(|bytes| {
                    Done::ReceivedFrom(bytes, sender.expect("a datagram comes from somewhere"))
                })
            }
            Work::Refused => unreachable!("it is with the finished, not with a source"),
            Work::Send { buffers, sent } => return send(socket, buffers, sent),
            Work::SendTo(datagram) => return send_to(socket, &datagram.0, datagram.1.as_ref()),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Attempt::Nothing,
            // By a signal, which a call that does not wait hardly ever is.
            Err(error) if error.kind() == ErrorKind::Interrupted => Attempt::Later,
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

/// Sends until all is out, or EAGAIN, or it was enough for one try. Gives how much was sent, and
/// whether more can be tried.
pub(super) fn send_some(socket: &OsSocket, buffers: &mut Buffers) -> io::Result<(usize, bool)> {
    let mut sent = 0;
    for _ in 0..SENDS_PER_TRY {
        if buffers.is_empty() {
            break;
        }
        match socket.send(buffers) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((sent, false)),
            Err(error) => return Err(error),
        }
    }
    Ok((sent, true))
}

fn send(socket: &OsSocket, buffers: &mut Buffers, sent: &mut usize) -> Attempt {
    match send_some(socket, buffers) {
        Err(error) => Attempt::Ended(Err(error)),
        Ok((n, more)) => {
            *sent += n;
            match (buffers.is_empty(), more) {
                (true, _) => Attempt::Ended(Ok(Done::Sent(*sent))),
                (false, true) => Attempt::Later,
                (false, false) => Attempt::Nothing,
            }
        }
    }
}

fn send_to(socket: &OsSocket, bytes: &[u8], to: Option<&Address>) -> Attempt {
    for _ in 0..2 {
        match socket.send_to(bytes, to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return Attempt::Ended(result.map(Done::Sent)),
        }
        // A Unix socket that can send and does not has no room at the other end, which no edge
        // tells of unless it is connected with that. Twice, as there may be room in between.
        let full = matches!(to, Some(Address::Unix(_)));
        match full.then(|| is_ready(socket, Side::Write)) {
            Some(Ok(true)) => {}
            Some(Err(error)) => return Attempt::Ended(Err(error)),
            Some(Ok(false)) | None => return Attempt::Nothing,
        }
    }
    Attempt::Ended(Err(ErrorKind::WouldBlock.into()))
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
