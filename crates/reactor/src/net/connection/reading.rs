//! The receiving half.

use std::{
    any::Any,
    cell::RefMut,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use thence_core::{Failure, Trigger, hosting::Home};

use super::{Connection, end, listening::Listening};
use crate::{
    driver::{Done, Key, Op, is_cancelled},
    net::{inbound::Inbound, line::Line, outbound::Broken},
};

/// What has come, and who waits for it.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) inbound: Inbound,
    pub(super) end: Option<End>,
    waiters: Line<(Need, Trigger<Bytes>)>,
    waker: Option<Waker>,
    /// A protocol that everything goes to.
    pub(super) protocol: Listening,
    pub(super) op: Option<Key>,
}

/// How much a read wants.
#[derive(Clone, Copy)]
pub(in crate::net) enum Need {
    AtMost(usize),
    Exactly(usize),
}

/// Nothing more will come.
pub(super) enum End {
    Broken(Broken),
    Finished,
}

/// What a read ends with.
enum Served {
    /// Bytes, and their place in the stream.
    Bytes(u64, Bytes),
    Failed(Failure),
}

impl Connection {
    /// Ends `trigger` with what comes. It has no hook for a request: it stops at once then, and
    /// what comes for it goes to the next.
    pub(in crate::net) fn read(self: &Rc<Self>, need: Need, trigger: Trigger<Bytes>) {
        let mut reading = self.reading.borrow_mut();
        let waits = reading.is_quiet() && reading.op.is_some();
        reading.waiters.push((need, trigger));
        drop(reading);
        if !waits {
            self.serve();
        }
    }

    pub(in crate::net) fn poll_read(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        f: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let mut reading = self.reading.borrow_mut();
        if let Some((place, mut bytes)) = reading.inbound.take(usize::MAX) {
            // Outside of the borrow: `f` is not ours.
            drop(reading);
            let taken = f(&bytes).min(bytes.len());
            bytes.advance(taken);
            self.reading.borrow_mut().inbound.put_back(place + taken as u64, bytes);
            return Poll::Ready(Ok(taken));
        }
        match &reading.end {
            Some(End::Broken(broken)) => return Poll::Ready(Err(broken.error())),
            Some(End::Finished) => {
                drop(reading);
                f(&[]);
                return Poll::Ready(Ok(0));
            }
            None => {}
        }
        match &mut reading.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        drop(reading);
        self.want_more();
        Poll::Pending
    }

    /// Gives what is there to whoever waits, in order, and asks the driver for more.
    pub(super) fn serve(self: &Rc<Self>) {
        loop {
            let mut reading = self.reading.borrow_mut();
            if reading.waiters.is_empty() || (reading.inbound.len() == 0 && reading.end.is_none()) {
                break;
            }
            let left = reading.take_left();
            let served = reading.serve_one();
            drop(reading);
            end(left);
            match served {
                None => break,
                Some((trigger, Served::Failed(error))) => trigger.fail(error),
                Some((trigger, Served::Bytes(place, bytes))) => {
                    trigger.fire_from(self.this.clone(), place, bytes);
                }
            }
        }
        self.want_more();
    }

    /// A piece has come, and others may follow.
    #[inline]
    pub(super) fn received_piece(self: &Rc<Self>, bytes: Bytes) {
        let mut reading = self.reading.borrow_mut();
        if self.layer.get().is_none()
            && let Some((place, trigger)) = reading.waiter_of_all(&bytes)
        {
            drop(reading);
            trigger.fire_from(self.this.clone(), place, bytes);
            if !self.is_taken_up() {
                self.let_reads_go();
            }
            return;
        }
        self.hear(&mut reading, bytes);
        self.after_receiving(reading);
    }

    /// The operation has ended.
    pub(super) fn received(self: &Rc<Self>, result: io::Result<Done>) {
        let mut reading = self.reading.borrow_mut();
        reading.op = None;
        match result {
            Ok(Done::Received(bytes)) => self.hear(&mut reading, bytes),
            Ok(_) => {}
            Err(error) if is_cancelled(&error) => {}
            Err(error) => {
                reading.end.get_or_insert(End::Broken(Broken::new(&error)));
            }
        }
        self.after_receiving(reading);
    }

    fn hear(&self, reading: &mut Reading, bytes: Bytes) {
        match self.layer.get() {
            Some(layer) => layer.hear(reading, &bytes),
            None if bytes.is_empty() => {
                reading.end.get_or_insert(End::Finished);
            }
            None => reading.inbound.push(bytes),
        }
    }

    fn after_receiving(self: &Rc<Self>, mut reading: RefMut<'_, Reading>) {
        let waker = reading.waker.take();
        reading.protocol.wake();
        drop(reading);
        waker.into_iter().for_each(Waker::wake);
        self.after_hearing();
        self.serve();
        self.rest();
    }

    /// Has an operation pending while somebody waits for more than there is.
    pub(super) fn want_more(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        if reading.op.is_some() || reading.end.is_some() {
            return;
        }
        let left = reading.take_left();
        let wanted = reading.is_wanted() || self.listens();
        drop(reading);
        end(left);
        if !wanted {
            return;
        }
        let submitted = match self.socket() {
            Some(socket) => self.hub.submit(Op::RecvMany { socket }, self.clone()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match submitted {
            Ok(key) => self.reading.borrow_mut().op = Some(key),
            Err(error) => self.received(Err(error)),
        }
    }

    /// Receives no more when nobody waits and enough is here: from there on it is for the other
    /// end to wait.
    fn rest(self: &Rc<Self>) {
        if !self.is_taken_up() {
            self.let_reads_go();
            return;
        }
        let reading = self.reading.borrow();
        let enough = reading.inbound.len() >= READ_AHEAD && !reading.is_wanted();
        let op = reading.op.filter(|_| enough);
        drop(reading);
        op.into_iter().for_each(|key| self.hub.cancel(key));
    }

    /// Nothing more will be received; gives the operation that is pending.
    pub(super) fn break_reading(&self, broken: Broken) -> Option<Key> {
        let mut reading = self.reading.borrow_mut();
        reading.end.get_or_insert(End::Broken(broken));
        let (waker, op) = (reading.waker.take(), reading.op);
        reading.protocol.wake();
        drop(reading);
        waker.into_iter().for_each(Waker::wake);
        op
    }

    /// The stream is gone: what is pending for nobody ends, now or as soon as the last one leaves.
    pub(super) fn let_reads_go(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        let left = reading.take_left();
        let nobody = reading.waiters.is_empty();
        let idle = reading.op.filter(|_| nobody && !self.listens());
        if idle.is_none() {
            for (_, trigger) in reading.waiters.iter() {
                let this = self.this.clone();
                trigger.on_left(move || {
                    this.upgrade().into_iter().for_each(|this| this.let_reads_go());
                });
            }
        }
        drop(reading);
        end(left);
        if nobody && self.linger() {
            return;
        }
        // What comes all the same goes to the buffer.
        idle.into_iter().for_each(|key| self.hub.cancel(key));
    }
}

impl Reading {
    pub(super) fn take_waiters(&mut self) -> Vec<Trigger<Bytes>> {
        self.waiters.take().map(|(_, trigger)| trigger).collect()
    }

    /// The first waiter and its end, when that is there.
    fn serve_one(&mut self) -> Option<(Trigger<Bytes>, Served)> {
        let need = self.waiters.front()?.0;
        let taken = match need {
            Need::AtMost(0) => Some((0, Bytes::new())),
            Need::AtMost(max) => self.inbound.take(max),
            Need::Exactly(n) => self.inbound.take_exact(n),
        };
        let served = match (taken, &self.end, need) {
            (Some((place, bytes)), _, _) => Served::Bytes(place, bytes),
            (None, None, _) => return None,
            (None, Some(End::Broken(broken)), _) => Served::Failed(broken.error().into()),
            (None, Some(End::Finished), Need::AtMost(_)) => Served::Bytes(0, Bytes::new()),
            (None, Some(End::Finished), Need::Exactly(n)) => {
                let there = self.inbound.len();
                Served::Failed(Failure::from(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the stream ended after {there} of {n} bytes"),
                )))
            }
        };
        self.waiters.pop().map(|(_, trigger)| (trigger, served))
    }

    /// Takes out who no longer waits.
    fn take_left(&mut self) -> Vec<Trigger<Bytes>> {
        let left = self.waiters.take_if(|(_, trigger)| !trigger.is_wanted());
        left.into_iter().map(|(_, trigger)| trigger).collect()
    }

    /// The one who waits, when all of `bytes` is what it waits for, and their place.
    #[inline]
    fn waiter_of_all(&mut self, bytes: &Bytes) -> Option<(u64, Trigger<Bytes>)> {
        let (Need::AtMost(max), trigger) = self.waiters.front()? else { return None };
        let fits = *max >= bytes.len() && self.inbound.len() == 0 && self.waiters.has_one();
        if !fits || !trigger.is_wanted() {
            return None;
        }
        let (_, trigger) = self.waiters.pop()?;
        Some((self.inbound.pass(bytes.len()), trigger))
    }

    /// Whether nothing is here and nobody waits.
    fn is_quiet(&self) -> bool {
        self.inbound.len() == 0 && self.end.is_none() && self.waiters.is_empty()
    }

    /// Whether what comes next has somebody who wants it.
    fn is_wanted(&self) -> bool {
        !self.waiters.is_empty() || self.waker.is_some() || self.protocol.wants()
    }
}

impl Home for Connection {
    fn take_back(self: Rc<Self>, place: u64, value: Box<dyn Any>) {
        let bytes = value.downcast::<Bytes>().expect("reads yield bytes");
        self.reading.borrow_mut().inbound.put_back(place, *bytes);
        self.serve();
    }
}

/// How much is received before anybody asks for it.
const READ_AHEAD: usize = 64 * 1024;
