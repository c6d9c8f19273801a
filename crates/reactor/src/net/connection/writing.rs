//! The sending half.

use std::{
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use thence_core::{Failure, Trigger};

use super::Connection;
use crate::{
    driver::{Buffers, Done, Op, is_cancelled},
    net::outbound::{Broken, Finishing, Outbound},
};

impl Connection {
    /// Sends `bytes` and fires `trigger`. It has no hook for a request: it stops at once then, and
    /// what the driver does not have yet is not sent.
    pub(in crate::net) fn write(self: &Rc<Self>, bytes: Bytes, trigger: Trigger<()>) {
        let refusal = self.writing.borrow().refusal();
        if let Some(error) = refusal {
            trigger.fail(Failure::from(error));
            return;
        }
        self.change(|writing| writing.push(bytes, Some(trigger)));
        self.flush_soon();
    }

    /// Sends `bytes`, with nobody to tell of it.
    pub(in crate::net) fn send_untold(self: &Rc<Self>, bytes: Bytes) {
        let writing = self.writing.borrow();
        if bytes.is_empty() || writing.error.is_some() || writing.finishing != Finishing::No {
            return;
        }
        drop(writing);
        self.change(|writing| writing.push(bytes, None));
        self.flush_soon();
    }

    pub(in crate::net) fn shutdown(self: &Rc<Self>, trigger: Trigger<()>) {
        let mut writing = self.writing.borrow_mut();
        if writing.finishing == Finishing::No {
            writing.finishing = Finishing::Asked;
        }
        writing.finish_waiters.push(trigger);
        drop(writing);
        self.flush_soon();
    }

    pub(in crate::net) fn poll_write(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut writing = self.writing.borrow_mut();
        if let Some(error) = writing.refusal() {
            return Poll::Ready(Err(error));
        }
        let mut room = HIGH_WATER.saturating_sub(writing.len());
        if room == 0 {
            writing.wake_later(cx.waker());
            return Poll::Pending;
        }
        drop(writing);
        let mut taken = 0;
        self.change(|writing| {
            for slice in slices {
                let part = slice.len().min(room);
                writing.copy(&slice[..part]);
                taken += part;
                room -= part;
            }
        });
        self.flush_soon();
        Poll::Ready(Ok(taken))
    }

    pub(in crate::net) fn unsent(&self) -> usize {
        self.writing.borrow().unsent(|op| self.hub.driver.borrow().unsent(op))
    }

    pub(in crate::net) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writing = self.writing.borrow_mut();
        if let Some(broken) = &writing.error {
            return Poll::Ready(Err(broken.error()));
        }
        if writing.is_idle() {
            return Poll::Ready(Ok(()));
        }
        writing.wake_later(cx.waker());
        Poll::Pending
    }

    pub(in crate::net) fn poll_shutdown(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut writing = self.writing.borrow_mut();
        if writing.finishing == Finishing::No {
            writing.finishing = Finishing::Asked;
            drop(writing);
            self.flush_soon();
            writing = self.writing.borrow_mut();
        }
        if let Some(broken) = &writing.error {
            return Poll::Ready(Err(broken.error()));
        }
        if writing.finishing == Finishing::Done {
            return Poll::Ready(Ok(()));
        }
        writing.wake_later(cx.waker());
        Poll::Pending
    }

    /// Gives the driver what waits, and shuts down when that was all and it was asked for.
    pub(super) fn send(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        if writing.is_sending() {
            return;
        }
        if let Some(broken) = writing.error.clone() {
            drop(writing);
            self.fail_writes(&broken);
            return;
        }
        drop(writing);
        let batch = match self.next_batch() {
            Ok(batch) => batch,
            Err(error) => return self.sent(Err(error)),
        };
        if let Some(buffers) = batch {
            if !self.send_batch(buffers) {
                return;
            }
            // That was all, and nobody waits for it. What is left to do is to end.
            if !self.writing.borrow().is_settled() {
                self.flush_soon();
                return;
            }
        }
        if let Some(broken) = self.layer_failure() {
            // The other end knows why by now.
            let _ = self.finish();
            self.fail_writes(&broken);
            return;
        }
        writing = self.writing.borrow_mut();
        if matches!(writing.finishing, Finishing::Asked | Finishing::Cut) {
            if let Err(error) = self.finish() {
                drop(writing);
                self.fail_writes(&Broken::new(&error));
                return;
            }
            writing.finishing = Finishing::Done;
        }
        if writing.finishing == Finishing::Done {
            let finished = std::mem::take(&mut writing.finish_waiters);
            let wakers = writing.take_wakers();
            drop(writing);
            wakers.into_iter().for_each(Waker::wake);
            finished.into_iter().for_each(|trigger| trigger.fire(()));
            self.after_sending();
        }
    }

    /// Sends a batch, at once if that is possible. Says whether it is out and nobody has to be told.
    fn send_batch(self: &Rc<Self>, mut buffers: Buffers) -> bool {
        let Some(socket) = self.socket() else {
            return self.tried(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let mut sent_before = 0;
        match self.hub.send_now(&socket, &mut buffers) {
            Some(Ok(n)) if buffers.is_empty() => return self.tried(Ok(n)),
            Some(Ok(n)) => sent_before = n,
            Some(Err(error)) => return self.tried(Err(error)),
            None => {}
        }
        match self.hub.submit(Op::Send { socket, buffers }, self.clone()) {
            Ok(key) => {
                self.writing.borrow_mut().sends(key, sent_before);
                false
            }
            Err(error) => self.tried(Err(error)),
        }
    }

    fn tried(self: &Rc<Self>, result: io::Result<usize>) -> bool {
        let tells = self.change(|writing| writing.tried(result));
        if tells {
            self.hub.tell_later(self.clone());
        }
        !tells
    }

    /// The driver is through with what it had.
    pub(super) fn sent(self: &Rc<Self>, result: io::Result<Done>) {
        let (expected, mut writers) = self.change(Outbound::sent);
        let broken = match result {
            Ok(Done::Sent(n)) if n == expected => {
                let wakers = self.writing.borrow_mut().take_wakers();
                wakers.into_iter().for_each(Waker::wake);
                writers.drain(..).for_each(|trigger| trigger.fire(()));
                self.writing.borrow_mut().keep(writers);
                self.send();
                return;
            }
            Ok(_) => Broken::aborted(),
            Err(error) if is_cancelled(&error) => Broken::aborted(),
            Err(error) => Broken::new(&error),
        };
        for trigger in writers {
            trigger.fail(Failure::from(broken.error()));
        }
        self.fail_writes(&broken);
    }

    /// Nothing more can be sent.
    pub(super) fn fail_writes(&self, broken: &Broken) {
        let waiting = self.change(Outbound::take_waiting);
        let mut writing = self.writing.borrow_mut();
        writing.error.get_or_insert_with(|| broken.clone());
        writing.finishing = Finishing::Done;
        let wakers = writing.take_wakers();
        drop(writing);
        wakers.into_iter().for_each(Waker::wake);
        // Borrowed while TLS hears something, which tells the protocol anyway.
        if let Ok(reading) = self.reading.try_borrow() {
            reading.protocol.wake();
        }
        for trigger in waiting {
            trigger.fail(Failure::from(broken.error()));
        }
        self.after_sending();
    }

    pub(super) fn flush_soon(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        if !writing.is_sending() && !writing.listed {
            writing.listed = true;
            drop(writing);
            self.hub.flush_later(self.clone());
        }
    }

    /// Changes the writes, and keeps count of the connections that have some.
    pub(super) fn change<R>(&self, f: impl FnOnce(&mut Outbound) -> R) -> R {
        let mut writing = self.writing.borrow_mut();
        let before = writing.len() > 0;
        let result = f(&mut writing);
        let unsent = &self.hub.unsent;
        match (before, writing.len() > 0) {
            (false, true) => unsent.set(unsent.get() + 1),
            (true, false) => unsent.set(unsent.get() - 1),
            _ => {}
        }
        let len = writing.len();
        drop(writing);
        // Borrowed while TLS makes room for what it has heard, which tells the protocol anyway.
        if let Ok(reading) = self.reading.try_borrow() {
            reading.protocol.now_waits(len);
        }
        result
    }
}

/// How much `poll_write` takes before somebody has to wait.
const HIGH_WATER: usize = 64 * 1024;
