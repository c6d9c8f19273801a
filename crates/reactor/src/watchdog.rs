//! Says which callback blocks the loop.
//!
//! A thread of its own looks at what the loop publishes: when its turn began, and the site of the
//! callback that runs. While the loop is parked nothing is due, so after a second of that the
//! thread sleeps until the loop wakes it; an idle process has no wake-ups from this.

use std::{
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use thence_core::hosting::Beacon;

/// Watches one reactor until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pulse: Arc<Pulse>,
    thread: Thread,
}

/// What the loop publishes.
#[derive(Debug)]
struct Pulse {
    origin: Instant,
    /// When the turn began, in nanoseconds since the origin, and never zero; zero while parked.
    busy_since: AtomicU64,
    /// The watchdog sleeps until it is woken.
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Watchdog {
    /// Starts to watch; `None`, and a word in the log, when there is no thread to be had.
    pub(crate) fn start(limit: Duration, beacon: Arc<Beacon>) -> Option<Self> {
        let pulse = Arc::new(Pulse {
            origin: Instant::now(),
            busy_since: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let watched = pulse.clone();
        let started = thread::Builder::new()
            .name("thence-watchdog".into())
            .spawn(move || watch(&watched, &beacon, limit));
        match started {
            // Left to itself: it ends when it is told, and nobody has to wait for that.
            Ok(handle) => Some(Watchdog { pulse, thread: handle.thread().clone() }),
            Err(error) => {
                tracing::warn!("no thread for the watchdog, blocked loops go unseen: {error}");
                None
            }
        }
    }

    /// The loop has something to do, since `now`.
    pub(crate) fn busy(&self, now: Instant) {
        let since = now.saturating_duration_since(self.pulse.origin).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.pulse.busy_since.store(since.max(1), Ordering::SeqCst);
        if self.pulse.asleep.load(Ordering::SeqCst) {
            self.pulse.asleep.store(false, Ordering::SeqCst);
            self.thread.unpark();
        }
    }

    /// The loop waits.
    pub(crate) fn parked(&self) {
        self.pulse.busy_since.store(0, Ordering::SeqCst);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pulse.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn watch(pulse: &Pulse, beacon: &Beacon, limit: Duration) {
    let mut judge = Judge::new(limit);
    let step = (limit / 2).max(Duration::from_millis(1));
    let mut quiet = Duration::ZERO;
    while !pulse.ended.load(Ordering::SeqCst) {
        if quiet > DOZE {
            pulse.asleep.store(true, Ordering::SeqCst);
            // Looked at after the flag was set: a loop that woke before saw no sleeper.
            if pulse.busy_since.load(Ordering::SeqCst) == 0 {
                while pulse.asleep.load(Ordering::SeqCst) && !pulse.ended.load(Ordering::SeqCst) {
                    thread::park();
                }
            }
            pulse.asleep.store(false, Ordering::SeqCst);
            quiet = Duration::ZERO;
        }
        thread::park_timeout(step);
        let since = pulse.busy_since.load(Ordering::SeqCst);
        if since == 0 {
            quiet += step;
            continue;
        }
        quiet = Duration::ZERO;
        let site = beacon.running();
        // The turn may have ended between the two looks; then the site is not its.
        if pulse.busy_since.load(Ordering::SeqCst) != since {
            continue;
        }
        if let Some(report) = judge.look(pulse.origin.elapsed(), Duration::from_nanos(since)) {
            say(&report, site);
        }
    }
}

fn say(report: &Report, site: Option<&'static Location<'static>>) {
    let held = report.blocked.as_millis();
    let more = match report.held_back {
        0 => String::new(),
        n => format!(" ({n} more such reports were held back before this one)"),
    };
    match site {
        Some(site) => tracing::warn!(
            file = site.file(),
            line = site.line(),
            "the loop has been blocked for {held} ms by the callback at {site}; blocking work \
             belongs into `offload`{more}"
        ),
        None => tracing::warn!("the loop has been blocked for {held} ms, by no callback{more}"),
    }
}

/// Decides what is worth a line.
#[derive(Debug)]
struct Judge {
    limit: Duration,
    /// The turn that was reported last, and when it is due again.
    reported: Option<(Duration, Duration)>,
    /// When the reports of the last minute were.
    recent: Vec<Duration>,
    held_back: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Report {
    blocked: Duration,
    held_back: u32,
}

impl Judge {
    fn new(limit: Duration) -> Self {
        Judge { limit, reported: None, recent: Vec::new(), held_back: 0 }
    }

    /// The loop is in a turn that began at `since`, and now it is `now`.
    fn look(&mut self, now: Duration, since: Duration) -> Option<Report> {
        let blocked = now.saturating_sub(since);
        let due = match self.reported {
            Some((turn, due)) if turn == since => due,
            _ => self.limit,
        };
        if blocked < due {
            return None;
        }
        // At double each time: of one long block a few lines tell enough.
        let mut next = due;
        while next <= blocked {
            next = next.saturating_mul(2);
        }
        self.reported = Some((since, next));
        self.recent.retain(|at| now.saturating_sub(*at) < MINUTE);
        if self.recent.len() >= REPORTS_A_MINUTE {
            self.held_back += 1;
            return None;
        }
        self.recent.push(now);
        Some(Report { blocked, held_back: std::mem::take(&mut self.held_back) })
    }
}

const REPORTS_A_MINUTE: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);

/// How long a loop is parked until its watchdog sleeps too.
const DOZE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_short_turn_is_none_of_its_business() {
        let mut judge = Judge::new(ms(25));
        assert_eq!(judge.look(ms(124), ms(100)), None);
        assert_eq!(judge.look(ms(249), ms(225)), None);
    }

    #[test]
    fn a_long_one_is_told_at_double_each_time() {
        let mut judge = Judge::new(ms(25));
        let told: Vec<u64> =
            (0..1000).filter(|n| judge.look(ms(100 + n), ms(100)).is_some()).collect();
        assert_eq!(told, [25, 50, 100, 200, 400]);
    }

    #[test]
    fn one_that_was_seen_late_is_told_once() {
        let mut judge = Judge::new(ms(25));
        let report = Report { blocked: ms(130), held_back: 0 };
        assert_eq!(judge.look(ms(230), ms(100)), Some(report));
        assert_eq!(judge.look(ms(260), ms(100)), None);
        assert!(judge.look(ms(300), ms(100)).is_some());
    }

    #[test]
    fn five_a_minute_and_the_rest_is_counted() {
        let mut judge = Judge::new(ms(25));
        let told = (1..=20).filter(|n| judge.look(ms(n * 100 + 30), ms(n * 100)).is_some()).count();
        assert_eq!(told, 5);
        let later = MINUTE + ms(5000);
        let report = Report { blocked: ms(30), held_back: 15 };
        assert_eq!(judge.look(later + ms(30), later), Some(report));
    }
}
