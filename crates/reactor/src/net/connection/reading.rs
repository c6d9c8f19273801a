//! The receiving half.

use std::{
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use thence_core::{Failure, Trigger};

use super::{Connection, end};
use crate::{
    driver::{Done, Key, Op, RECV_MAX, is_cancelled},
    net::{inbound::Inbound, outbound::Broken},
};

/// What has come, and who waits for it.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) inbound: Inbound,
    pub(super) end: Option<End>,
    waiters: VecDeque<(Need, Trigger<Bytes>)>,
    waker: Option<Waker>,
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
        self.reading.borrow_mut().waiters.push_back((need, trigger));
        self.serve();
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
                    let this = self.this.clone();
                    trigger.on_unclaimed(move |bytes| {
                        // Without a connection nobody can ask for them.
                        let Some(this) = this.upgrade() else { return };
                        this.reading.borrow_mut().inbound.put_back(place, bytes);
                        this.serve();
                    });
                    trigger.fire(bytes);
                }
            }
        }
        self.want_more();
    }

    pub(super) fn received(self: &Rc<Self>, result: io::Result<Done>) {
        let mut reading = self.reading.borrow_mut();
        reading.op = None;
        match result {
            Ok(Done::Received(bytes)) => match self.layer.get() {
                Some(layer) => layer.hear(&mut reading, &bytes),
                None if bytes.is_empty() => {
                    reading.end.get_or_insert(End::Finished);
                }
                None => reading.inbound.push(bytes),
            },
            Ok(_) => {}
            Err(error) if is_cancelled(&error) => {}
            Err(error) => {
                reading.end.get_or_insert(End::Broken(Broken::new(&error)));
            }
        }
        let waker = reading.waker.take();
        drop(reading);
        waker.into_iter().for_each(Waker::wake);
        self.after_hearing();
        self.serve();
    }

    /// Has an operation pending while somebody waits for more than there is.
    pub(super) fn want_more(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        if reading.op.is_some() || reading.end.is_some() {
            return;
        }
        let left = reading.take_left();
        let max = match reading.waiters.front() {
            Some((Need::AtMost(max), _)) => (*max).clamp(1, RECV_MAX),
            Some((Need::Exactly(n), _)) => {
                n.saturating_sub(reading.inbound.len()).clamp(1, RECV_MAX)
            }
            None if reading.waker.is_some() || self.listens() => RECV_MAX,
            None => 0,
        };
        drop(reading);
        end(left);
        if max == 0 {
            return;
        }
        // What is wanted comes in records, which are longer.
        let max = self.layer.get().map_or(max, |_| RECV_MAX);
        let submitted = match self.socket() {
            Some(socket) => self.hub.submit(Op::Recv { socket, max }, self.clone()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match submitted {
            Ok(key) => self.reading.borrow_mut().op = Some(key),
            Err(error) => self.received(Err(error)),
        }
    }

    /// Nothing more will be received; gives the operation that is pending.
    pub(super) fn break_reading(&self, broken: Broken) -> Option<Key> {
        let mut reading = self.reading.borrow_mut();
        reading.end.get_or_insert(End::Broken(broken));
        let (waker, op) = (reading.waker.take(), reading.op);
        drop(reading);
        waker.into_iter().for_each(Waker::wake);
        op
    }

    /// The stream is gone: what is pending for nobody ends, now or as soon as the last one leaves.
    pub(super) fn let_reads_go(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        let left = reading.take_left();
        let nobody = reading.waiters.is_empty();
        let idle = reading.op.filter(|_| nobody);
        if idle.is_none() {
            for (_, trigger) in &reading.waiters {
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
        self.waiters.drain(..).map(|(_, trigger)| trigger).collect()
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
        self.waiters.pop_front().map(|(_, trigger)| (trigger, served))
    }

    /// Takes out who no longer waits.
    fn take_left(&mut self) -> Vec<Trigger<Bytes>> {
        if self.waiters.iter().all(|(_, trigger)| trigger.is_wanted()) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.waiters).into_iter();
        let (wanted, left) = all.partition::<VecDeque<_>, _>(|(_, trigger)| trigger.is_wanted());
        self.waiters = wanted;
        left.into_iter().map(|(_, trigger)| trigger).collect()
    }
}
