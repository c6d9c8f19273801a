//! One round of the reactor.

use std::{
    hint, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use thence_core::hosting::{self, Inbox};

use crate::{
    driver::Completion,
    hub::{Hub, Sink},
    watchdog::Watchdog,
};

/// What a turn needs that nobody else may touch.
pub(crate) struct Turner {
    completions: Vec<Completion>,
    /// The completions of this turn with whom they go to; empty between turns.
    ended: Vec<(Option<Rc<dyn Sink>>, Completion)>,
    inbox: Arc<Inbox>,
    watchdog: Option<Watchdog>,
    /// A duplicate of the driver's, which nobody has to borrow the driver for.
    fd: Option<OwnedFd>,
    /// How many callbacks a turn runs.
    budget: usize,
    /// How long a turn looks for something to do before it lets the operating system wait.
    spin: Duration,
    /// A turn stopped firing timers because it had fired enough.
    more_timers: bool,
}

impl Turner {
    pub(crate) fn new(
        inbox: Arc<Inbox>,
        budget: usize,
        spin: Duration,
        watchdog: Option<Watchdog>,
        fd: Option<OwnedFd>,
    ) -> Self {
        Turner {
            completions: Vec::new(),
            ended: Vec::new(),
            inbox,
            watchdog,
            fd,
            budget,
            spin,
            more_timers: false,
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Waits at most `timeout` for something to happen, delivers it and runs what that set off.
    /// Each part is bounded, so none keeps the others waiting.
    ///
    /// Between turns, and while the driver waits, the inbox is parked: what is posted then wakes
    /// the driver. What is posted while the turn is awake costs no call to the operating system.
    pub(crate) fn turn(&mut self, hub: &Hub, timeout: Option<Duration>) -> io::Result<()> {
        hub.flush();
        let inbox = self.inbox.clone();
        let parks = Parks(&inbox);
        self.wait_for_work(hub, timeout)?;
        inbox.awake();
        let now = hub.now();
        if let Some(watchdog) = &self.watchdog {
            watchdog.busy(now);
        }
        hub.jobs.run_due();
        let held = hosting::hold();
        hub.tell();
        self.deliver(hub);
        self.fire_timers(hub, now);
        hosting::deliver_inbox(INBOX_PER_TURN);
        drop(held);
        hosting::run_queue(self.budget);
        // What was written goes out now: whoever embeds this may not come back for long.
        hub.flush();
        if let Some(watchdog) = &self.watchdog {
            watchdog.parked();
        }
        drop(parks);
        Ok(())
    }

    /// Has the driver take up what has ended. When there is nothing to do it waits for that, or
    /// for a timer or the inbox.
    fn wait_for_work(&mut self, hub: &Hub, timeout: Option<Duration>) -> io::Result<()> {
        let mut wait = self.wait(hub, timeout);
        if wait == Some(Duration::ZERO) {
            self.inbox.awake();
        } else if !self.spin.is_zero() {
            let begun = hub.now();
            if self.spin(hub, begun, wait)? {
                return Ok(());
            }
            let spun = hub.now().saturating_duration_since(begun);
            wait = match self.inbox.park() {
                true => wait.map(|wait| wait.saturating_sub(spun)),
                false => Some(Duration::ZERO),
            };
        }
        hub.driver.borrow_mut().turn(wait, &mut self.completions)
    }

    /// Looks at the driver and the inbox again and again; true as soon as there is something.
    fn spin(&mut self, hub: &Hub, begun: Instant, wait: Option<Duration>) -> io::Result<bool> {
        self.inbox.awake();
        let limit = wait.map_or(self.spin, |wait| wait.min(self.spin));
        while hub.now().saturating_duration_since(begun) < limit {
            hub.driver.borrow_mut().turn(Some(Duration::ZERO), &mut self.completions)?;
            if !self.completions.is_empty() {
                return Ok(true);
            }
            for _ in 0..LOOKS_PER_POLL {
                if !self.inbox.is_empty() {
                    return Ok(true);
                }
                hint::spin_loop();
            }
        }
        Ok(false)
    }

    /// How long a turn may wait: not at all when there is something to do.
    pub(crate) fn wait(&self, hub: &Hub, timeout: Option<Duration>) -> Option<Duration> {
        if !self.is_idle(hub) || timeout == Some(Duration::ZERO) {
            return Some(Duration::ZERO);
        }
        let timer = hub.until_next_timer();
        match (timeout, timer) {
            (Some(timeout), Some(timer)) => Some(timeout.min(timer)),
            (timeout, timer) => timeout.or(timer),
        }
    }

    /// Whether only time, the operating system or another thread can bring something to do.
    pub(crate) fn is_idle(&self, hub: &Hub) -> bool {
        !self.more_timers
            && hosting::queue_is_empty()
            && self.inbox.is_empty()
            && !hub.is_dirty()
            && !hub.has_to_tell()
            && !hub.driver.borrow().has_work()
    }

    /// Tells whoever waits for what has ended.
    fn deliver(&mut self, hub: &Hub) {
        // All are looked up first: the driver uses a key's slot again as soon as it has ended.
        let mut ended = std::mem::take(&mut self.ended);
        ended.extend(
            self.completions.drain(..).map(|done| (hub.sink_of(done.key, done.more), done)),
        );
        for (sink, completion) in ended.drain(..) {
            // A result that nobody waits for is dropped here, and a socket in it closes.
            let Some(sink) = sink else { continue };
            match completion.result {
                Ok(done) if completion.more => sink.progressed(completion.key, done),
                result => sink.completed(completion.key, result),
            }
        }
        self.ended = ended;
    }

    fn fire_timers(&mut self, hub: &Hub, now: Instant) {
        for _ in 0..TIMERS_PER_TURN {
            let Some(due) = hub.pop_due(now) else {
                self.more_timers = false;
                return;
            };
            due.come();
        }
        self.more_timers = true;
    }
}

/// Parks the inbox at the end of a turn, however that ends.
struct Parks<'a>(&'a Inbox);

impl Drop for Parks<'_> {
    fn drop(&mut self) {
        // Whoever takes the next turn looks whether something has come before that.
        self.0.park();
    }
}

const TIMERS_PER_TURN: usize = 256;
const INBOX_PER_TURN: usize = 256;

/// How often a spinning turn looks at the inbox for each time it asks the operating system: that
/// takes as long as some tens of looks.
const LOOKS_PER_POLL: usize = 32;
