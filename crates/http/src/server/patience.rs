//! How long the server waits for a client that does nothing.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use thence_reactor::{Sleep, has_reactor, now, sleep};

use super::opening::Over;
use super::seat::Seat;
use crate::io::Line;

/// Watches a connection for a client that takes nothing of what waits for it.
///
/// It looks once a second while something waits, so that an answer that goes out at once costs no
/// timer of its own.
pub(super) struct Patience {
    limit: Duration,
    look: Option<Sleep>,
    /// What had been sent at the last look at which it was more than before, and when that was.
    sent: u64,
    since: Instant,
    is_waiting: bool,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, look: None, sent: 0, since: now(), is_waiting: false }
    }

    /// Since when the client has taken nothing, if that is longer than between two looks.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.is_waiting.then_some(self.since)
    }

    /// Whether the client has taken nothing for too long. Wakes whoever asks when it is to ask
    /// again.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>, line: &Line) -> bool {
        loop {
            let Some(look) = &mut self.look else {
                if line.stream.unsent() == 0 {
                    return false;
                }
                (self.sent, self.since) = (line.sent(), now());
                self.look = Some(sleep(LOOK.min(self.limit)));
                continue;
            };
            if Pin::new(look).poll(cx).is_pending() {
                return false;
            }
            self.look = None;
            self.is_waiting = false;
            if line.stream.unsent() == 0 {
                return false;
            }
            let sent = line.sent();
            self.is_waiting = sent == self.sent;
            if sent != self.sent {
                (self.sent, self.since) = (sent, now());
            }
            let waited = now() - self.since;
            if waited >= self.limit {
                return true;
            }
            self.look = Some(sleep(LOOK.min(self.limit - waited)));
        }
    }
}

/// Watches a client that has said it sends no more, which is all that one says that has left. While
/// an answer goes on it may still read; when the handler has nothing to say, nothing would ever
/// show that it does not.
#[derive(Default)]
pub(super) struct HalfClosed {
    look: Option<Sleep>,
    sent: u64,
}

impl HalfClosed {
    /// Whether the answer has paused for as long as such a client is believed to be there.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>, line: &Line) -> bool {
        loop {
            let Some(look) = &mut self.look else {
                self.sent = line.sent();
                self.look = Some(sleep(PAUSE));
                continue;
            };
            if Pin::new(look).poll(cx).is_pending() {
                return false;
            }
            self.look = None;
            if line.stream.unsent() == 0 && line.sent() == self.sent {
                return true;
            }
        }
    }
}

/// Asks a client that has said it sends no more, and waits for its answer, whether it is there: 102
/// (RFC 2518 §10.1) is nothing to one that reads, and one that has closed its connection resets it.
#[derive(Default)]
pub(super) struct Asking {
    again: Option<Sleep>,
    asked: u32,
}

impl Asking {
    /// Asks, if it is time to. What comes of it shows at the connection a little later; wakes whoever
    /// asks then.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>, line: &Line) {
        loop {
            if let Some(again) = &mut self.again
                && Pin::new(again).poll(cx).is_pending()
            {
                return;
            }
            line.interject(line.exchange(), PROCESSING.into());
            let wait = ASK_AGAIN.saturating_mul(1 << self.asked.min(10));
            self.asked += 1;
            self.again = Some(sleep(wait));
        }
    }
}

/// Lets the client read to the end before the connection goes (RFC 9112 §9.6): closing over bytes
/// that nobody read resets it, and an answer that is still on its way is lost with it (rule 27).
/// It ends sooner when somebody else needs the place.
pub(super) async fn linger(line: &Line, limit: Duration, seat: &Seat, over: &mut Over) {
    if !has_reactor() {
        return;
    }
    let mut patience = Patience::new(limit);
    let is_out = poll_fn(|cx| {
        if !has_reactor() {
            return Poll::Ready(false);
        }
        if let Poll::Ready(end) = line.stream.poll_shutdown(cx) {
            return Poll::Ready(end.is_ok());
        }
        if patience.is_over(cx, line) || over.is_told(cx) && seat.is_evicted() {
            return Poll::Ready(false);
        }
        seat.waits(|rest| rest.answer_waits(patience.waits_since()));
        Poll::Pending
    })
    .await;
    if !is_out {
        line.stream.abort();
        return;
    }
    let until = now() + LINGER_AT_MOST;
    let mut late = sleep(LINGER);
    poll_fn(|cx| {
        if over.is_told(cx) && seat.is_evicted() {
            return Poll::Ready(());
        }
        loop {
            let mut n = 0;
            let mut skip = |bytes: &[u8]| {
                n = bytes.len();
                n
            };
            match line.stream.poll_read(cx, &mut skip) {
                Poll::Ready(Ok(_)) if n > 0 && now() < until => late.reset(now() + LINGER),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Pin::new(&mut late).poll(cx),
            }
        }
    })
    .await;
}

const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
/// Twice as long each time, up to some ten seconds.
const ASK_AGAIN: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(1);
/// How long a client may send nothing, once it has the last answer, before it closes.
const LINGER: Duration = Duration::from_secs(1);
/// How long it may go on with an upload that was answered.
const LINGER_AT_MOST: Duration = Duration::from_secs(30);
