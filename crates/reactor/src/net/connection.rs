//! What a stream, its pending operations and the hooks of its reads share.

use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt, io,
    net::Shutdown,
    rc::{Rc, Weak},
    task::Waker,
};

use thence_core::{Outcome, Stop, Trigger};

pub(super) use self::reading::Need;
use self::{layer::Layer, reading::Reading};
use super::outbound::{Broken, Outbound};
use crate::{
    driver::{Done, Key, Socket, SocketKind},
    hub::{Flush, Hub, Sink},
};

mod layer;
mod listening;
mod reading;
mod writing;

/// Both halves of a connection. A pending operation holds it, so it lives as long as its stream or
/// as somebody waits.
pub(super) struct Connection {
    hub: Rc<Hub>,
    /// None once a pipe has said that it is through, which it does by closing.
    socket: RefCell<Option<Socket>>,
    this: Weak<Self>,
    reading: RefCell<Reading>,
    writing: RefCell<Outbound>,
    /// What the bytes of the driver go through, once TLS has begun.
    layer: OnceCell<Box<Layer>>,
    /// How many `Transport`s there are of it.
    handles: Cell<usize>,
}

impl Connection {
    pub(super) fn new(hub: Rc<Hub>, socket: Socket) -> Rc<Self> {
        Rc::new_cyclic(|this| Connection {
            hub,
            socket: RefCell::new(Some(socket)),
            this: this.clone(),
            reading: RefCell::default(),
            writing: RefCell::default(),
            layer: OnceCell::new(),
            handles: Cell::new(0),
        })
    }

    pub(super) fn socket(&self) -> Option<Socket> {
        self.socket.borrow().clone()
    }

    /// Says that no more will be sent.
    fn finish(&self) -> io::Result<()> {
        let Some(socket) = self.socket() else { return Ok(()) };
        if socket.kind() == SocketKind::Pipe {
            self.socket.take();
            return Ok(());
        }
        socket.shutdown(Shutdown::Write)
    }

    /// Somebody has it, or one more.
    pub(super) fn take_up(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    /// One of those who have it has not, any more.
    pub(super) fn put_down(self: &Rc<Self>) {
        self.handles.set(self.handles.get() - 1);
        if !self.is_taken_up() {
            self.let_go();
        }
    }

    fn is_taken_up(&self) -> bool {
        self.handles.get() > 0
    }

    /// Lets the descriptor go, whoever still has this.
    pub(super) fn release(&self) {
        drop(self.socket.take());
        let receiving = self.reading.borrow().op;
        receiving.into_iter().for_each(|key| self.hub.cancel(key));
    }

    /// Breaks it.
    pub(super) fn abort(self: &Rc<Self>) {
        // The peer is gone already, or learns it now.
        let _ = self.socket().map(|socket| socket.shutdown(Shutdown::Both));
        let sending = self.writing.borrow().op;
        sending.into_iter().for_each(|key| self.hub.cancel(key));
        self.fail_writes(&Broken::aborted());
        let receiving = self.break_reading(Broken::aborted());
        receiving.into_iter().for_each(|key| self.hub.cancel(key));
        self.serve();
    }

    /// The stream is gone. Writes go out; reads that somebody waits for go on.
    fn let_go(self: &Rc<Self>) {
        self.let_reads_go();
        // A write that is half out and was asked to end would keep the connection for ever when
        // nobody reads at the other end.
        let writing = self.writing.borrow();
        let stuck = writing.op.filter(|_| writing.is_stuck());
        drop(writing);
        stuck.into_iter().for_each(|key| self.hub.cancel(key));
    }
}

impl Sink for Connection {
    fn completed(self: Rc<Self>, key: Key, result: io::Result<Done>) {
        if self.reading.borrow().op == Some(key) {
            self.received(result);
        } else if self.writing.borrow().op == Some(key) {
            self.sent(result);
        }
    }

    fn progressed(self: Rc<Self>, key: Key, done: Done) {
        match done {
            Done::Received(bytes) if self.reading.borrow().op == Some(key) => {
                self.received_piece(bytes);
            }
            _ => {}
        }
    }

    fn abandoned(&self) {
        let ended = Broken::new(&io::Error::other("the reactor of this connection has ended"));
        self.break_reading(ended.clone());
        end(self.reading.borrow_mut().take_waiters());
        end(self.take_handshake());
        let mut writing = self.writing.borrow_mut();
        writing.listed = false;
        writing.error.get_or_insert(ended);
        let (_, mut unsent) = writing.sent();
        unsent.extend(writing.take_waiting());
        let wakers = writing.take_wakers();
        drop(writing);
        end(unsent);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Flush for Connection {
    fn flush(self: Rc<Self>) {
        self.writing.borrow_mut().listed = false;
        self.send();
    }

    fn told(self: Rc<Self>) {
        let result = self.writing.borrow_mut().take_told();
        result.into_iter().for_each(|result| self.sent(result.map(Done::Sent)));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket() {
            Some(socket) => socket.fmt(f),
            None => f.write_str("closed"),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Whoever still has a trigger here was left: with somebody waiting, an operation is pending
        // and keeps the connection.
        self.abandoned();
    }
}

fn end<T: 'static>(triggers: impl IntoIterator<Item = Trigger<T>>) {
    for trigger in triggers {
        trigger.settle(Outcome::Stop(Stop::Cancelled));
    }
}
