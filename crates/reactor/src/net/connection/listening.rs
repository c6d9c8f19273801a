//! A protocol that hears what comes.

use std::{io, rc::Rc, task::Waker};

use super::{
    Connection,
    reading::{End, Reading},
};
use crate::{
    drain::Intake,
    net::{
        outbound::{Broken, Finishing},
        protocol::News,
    },
};

/// The protocol of a connection, as the connection sees it.
#[derive(Debug)]
pub(super) struct Listening {
    /// Of the protocol, while there is one.
    waker: Option<Waker>,
    paused: bool,
    /// It has asked for the end.
    closing: bool,
    /// It was told that too much waits to be sent.
    full: bool,
    /// It was told that the reactor drains.
    draining: bool,
    low: usize,
    high: usize,
}

impl Listening {
    /// Whether it wants what comes.
    pub(super) fn wants(&self) -> bool {
        self.waker.is_some() && !self.paused && !self.closing
    }

    /// There may be news.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// So much waits to be sent now.
    pub(super) fn now_waits(&self, len: usize) {
        if self.is_full(len) != self.full {
            self.wake();
        }
    }

    fn is_full(&self, len: usize) -> bool {
        len > if self.full { self.low } else { self.high }
    }
}

impl Default for Listening {
    fn default() -> Self {
        Listening {
            waker: None,
            paused: false,
            closing: false,
            full: false,
            draining: false,
            low: HIGH_WATER / 4,
            high: HIGH_WATER,
        }
    }
}

impl Connection {
    /// Everything that comes goes to the protocol behind `waker` from here on.
    pub(in crate::net) fn begin_protocol(self: &Rc<Self>, waker: Waker) {
        self.reading.borrow_mut().protocol.waker = Some(waker);
        self.hub.drain.add(self.this.clone());
        self.want_more();
    }

    pub(in crate::net) fn end_protocol(&self) {
        let waker = self.reading.borrow_mut().protocol.waker.take();
        drop(waker);
    }

    /// The next thing that the protocol has to know.
    pub(in crate::net) fn news(self: &Rc<Self>) -> News {
        let mut reading = self.reading.borrow_mut();
        let drains = self.hub.drain.why().is_some();
        if drains && !std::mem::replace(&mut reading.protocol.draining, true) {
            return News::Draining;
        }
        if reading.protocol.closing {
            return News::Closing;
        }
        let full = reading.protocol.is_full(self.writing.borrow().len());
        if full != std::mem::replace(&mut reading.protocol.full, full) {
            return if full { News::Full } else { News::Room };
        }
        let paused = reading.protocol.paused;
        if !paused && let Some((_, bytes)) = reading.inbound.take(usize::MAX) {
            return News::Bytes(bytes);
        }
        // Told while it is paused too, since it may wait for this connection to go on.
        if let Some(broken) = self.broken(&reading) {
            return News::Broken(broken);
        }
        match &reading.end {
            _ if paused => News::Nothing,
            Some(_) => News::Finished,
            None => {
                drop(reading);
                self.want_more();
                News::Nothing
            }
        }
    }

    fn broken(&self, reading: &Reading) -> Option<io::Error> {
        if let Some(End::Broken(broken)) = &reading.end {
            return Some(broken.error());
        }
        self.writing.borrow().error.as_ref().map(Broken::error)
    }

    pub(in crate::net) fn pause(self: &Rc<Self>, paused: bool) {
        let mut reading = self.reading.borrow_mut();
        reading.protocol.paused = paused;
        reading.protocol.wake();
        drop(reading);
        self.want_more();
    }

    /// Ends once what was written is out.
    pub(in crate::net) fn close(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        reading.protocol.closing = true;
        reading.protocol.wake();
        drop(reading);
        let mut writing = self.writing.borrow_mut();
        if writing.finishing == Finishing::No {
            writing.finishing = Finishing::Asked;
            drop(writing);
            self.flush_soon();
        }
    }

    pub(in crate::net) fn set_water_marks(&self, low: usize, high: usize) {
        let mut reading = self.reading.borrow_mut();
        (reading.protocol.low, reading.protocol.high) = (low.min(high), high);
        reading.protocol.wake();
    }
}

impl Intake for Connection {
    fn drain(&self) {
        self.reading.borrow().protocol.wake();
    }
}

const HIGH_WATER: usize = 64 * 1024;
