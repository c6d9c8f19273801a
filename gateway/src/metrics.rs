//! What the gateway counts, as Prometheus text.
//!
//! The loop alone counts, so a count is a cell and costs an addition. The names are few and fixed:
//! a crate for them would be larger than this file.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use thence::now;

use crate::{answer::Refusal, session::Stamp};

/// How a request ended, as its counter and its log line say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Outcome {
    /// The client left and the upstream's work was stopped.
    Cancelled,
    /// It came to its end, whether somebody still waited for it or not.
    Finished,
    /// The client left before the upstream heard of it.
    NotSent,
}

impl Outcome {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
            Self::NotSent => "not sent",
        }
    }
}

/// How a look-up ended. An anonymous request has none (S11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lookup {
    /// The store did not answer.
    Error,
    /// A clock had run out.
    Expired,
    /// A session in force.
    Hit,
    /// The cookie was not signed here; the store was not asked.
    Malformed,
    /// No such row.
    Miss,
    /// Somebody had ended it.
    Revoked,
    /// The queue was full, or the deadline passed.
    Shed,
}

impl Lookup {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Expired => "expired",
            Self::Hit => "hit",
            Self::Malformed => "malformed",
            Self::Miss => "miss",
            Self::Revoked => "revoked",
            Self::Shed => "shed",
        }
    }
}

/// Every count of the gateway.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: RefCell<BTreeMap<(u16, Outcome), u64>>,
    request_seconds: Histogram,
    lookups: RefCell<BTreeMap<Lookup, u64>>,
    lookup_seconds: Histogram,
    upstream_failures: RefCell<BTreeMap<Refusal, u64>>,
    /// When a failure of a kind was logged last, and how many were not since.
    said: RefCell<BTreeMap<Refusal, (Instant, u64)>>,
    retries: Cell<u64>,
    /// Requests being served now; the bound is the gateway's affair.
    pub in_flight: Cell<usize>,
    /// Of those, requests whose client has left, and which run to their end all the same.
    pub left_behind: Cell<usize>,
    /// Requests that the end of the drain cut.
    pub cut: Cell<u64>,
    /// When the drain cuts what is left, once it has begun.
    pub drain_ends: Cell<Option<Instant>>,
    /// Look-ups that wait for the session store.
    pub worker_queue: Cell<usize>,
    /// Rows whose idle clock was moved.
    pub touched: Cell<u64>,
    /// Rows of ended sessions that were removed.
    pub swept: Cell<u64>,
    /// When the oldest row there is should be gone.
    pub sweep_due: Cell<Option<Stamp>>,
    /// Lines of the log that were not written.
    pub log_lines_lost: Cell<u64>,
}

impl Metrics {
    /// A request has ended.
    pub fn request(&self, code: u16, outcome: Outcome, took: Duration) {
        *self.requests.borrow_mut().entry((code, outcome)).or_default() += 1;
        self.request_seconds.observe(took);
    }

    /// Whether what ends now ends because the drain's time is up.
    pub fn is_drain_over(&self) -> bool {
        self.drain_ends.get().is_some_and(|ends| now() + A_MOMENT >= ends)
    }

    /// A look-up has ended; `took` is for those that asked the store.
    pub fn lookup(&self, result: Lookup, took: Option<Duration>) {
        *self.lookups.borrow_mut().entry(result).or_default() += 1;
        if let Some(took) = took {
            self.lookup_seconds.observe(took);
        }
    }

    /// The upstream failed a request.
    pub fn upstream_failure(&self, kind: Refusal) {
        *self.upstream_failures.borrow_mut().entry(kind).or_default() += 1;
    }

    /// Whether a failure of this kind is to be logged, at most one a second; then, how many were not
    /// since the last.
    pub fn failure_is_said(&self, kind: Refusal) -> Option<u64> {
        let (mut said, now) = (self.said.borrow_mut(), now());
        let before = said.get_mut(&kind);
        if let Some((last, unsaid)) = before
            && now.saturating_duration_since(*last) < SAY_EVERY
        {
            *unsaid += 1;
            return None;
        }
        Some(said.insert(kind, (now, 0)).map_or(0, |(_, unsaid)| unsaid))
    }

    /// A request was sent again, on a fresh connection (rule 66).
    pub fn retry(&self) {
        self.retries.set(self.retries.get() + 1);
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        page.family("thence_gate_requests_total", "counter", "Requests that have ended.");
        for ((code, outcome), count) in &*self.requests.borrow() {
            let outcome = outcome.word();
            let labels = format!("{{route=\"{ROUTE}\",code=\"{code}\",outcome=\"{outcome}\"}}");
            page.sample(&labels, count);
        }
        page.family(
            "thence_gate_request_seconds",
            "histogram",
            "From a request's head to its answer's end.",
        );
        self.request_seconds.render(&mut page);
        page.family(
            "thence_gate_session_lookups_total",
            "counter",
            "Session cookies that were looked up.",
        );
        for (result, count) in &*self.lookups.borrow() {
            page.sample(&format!("{{result=\"{}\"}}", result.word()), count);
        }
        page.family(
            "thence_gate_session_lookup_seconds",
            "histogram",
            "Time to ask the session store, waiting for a thread included.",
        );
        self.lookup_seconds.render(&mut page);
        page.family(
            "thence_gate_upstream_failures_total",
            "counter",
            "Requests the upstream failed.",
        );
        for (kind, count) in &*self.upstream_failures.borrow() {
            page.sample(&format!("{{kind=\"{}\"}}", kind.word()), count);
        }
        page.single(
            "thence_gate_retries_total",
            "counter",
            "Requests sent again.",
            self.retries.get(),
        );
        page.single(
            "thence_gate_requests_in_flight",
            "gauge",
            "Requests being served.",
            self.in_flight.get(),
        );
        page.single(
            "thence_gate_requests_left_behind",
            "gauge",
            "Requests being served whose client has left.",
            self.left_behind.get(),
        );
        page.single(
            "thence_gate_requests_cut_total",
            "counter",
            "Requests the end of a drain cut.",
            self.cut.get(),
        );
        page.single(
            "thence_gate_worker_queue_depth",
            "gauge",
            "Look-ups waiting for the session store.",
            self.worker_queue.get(),
        );
        page.single(
            "thence_gate_sessions_touched_total",
            "counter",
            "Idle clocks moved.",
            self.touched.get(),
        );
        page.single(
            "thence_gate_sessions_swept_total",
            "counter",
            "Ended sessions removed.",
            self.swept.get(),
        );
        let lag =
            self.sweep_due.get().map_or(Duration::ZERO, |due| Stamp::now().since(due).duration());
        page.single(
            "thence_gate_sweep_lag_seconds",
            "gauge",
            "For how long the oldest row of an ended session should have been gone.",
            lag.as_secs_f64(),
        );
        page.single(
            "thence_gate_log_lines_lost_total",
            "counter",
            "Lines of the log that could not be written.",
            self.log_lines_lost.get(),
        );
        page.text
    }
}

/// Durations in buckets.
#[derive(Debug, Default)]
struct Histogram {
    /// One for each bound and one for what is above all.
    counts: [Cell<u64>; BOUNDS.len() + 1],
    sum: Cell<Duration>,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|(micros, _)| Duration::from_micros(*micros) < took);
        self.counts[bucket].set(self.counts[bucket].get() + 1);
        self.sum.set(self.sum.get().saturating_add(took));
    }

    fn render(&self, page: &mut Page) {
        let mut total = 0;
        for (count, bound) in self.counts.iter().zip(BOUNDS.iter().map(|b| b.1).chain(["+Inf"])) {
            total += count.get();
            page.sample(&format!("_bucket{{le=\"{bound}\"}}"), &total);
        }
        page.sample("_sum", &self.sum.get().as_secs_f64());
        page.sample("_count", &total);
    }
}

/// The text so far, and the family that samples belong to.
#[derive(Debug, Default)]
struct Page {
    text: String,
    family: &'static str,
}

// Writing to a String cannot fail.
impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, rest: &str, value: &dyn std::fmt::Display) {
        let _ = writeln!(self.text, "{}{rest} {value}", self.family);
    }

    fn single(
        &mut self,
        name: &'static str,
        kind: &str,
        help: &str,
        value: impl std::fmt::Display,
    ) {
        self.family(name, kind, help);
        self.sample("", &value);
    }
}

const SAY_EVERY: Duration = Duration::from_secs(1);
/// The reactor's drain began a little before ours was noticed.
const A_MOMENT: Duration = Duration::from_millis(100);
/// There is one route until there is a configuration file.
const ROUTE: &str = "/";
/// Bounds in microseconds, and in seconds as Prometheus wants them written.
const BOUNDS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
];

#[cfg(test)]
mod tests;
