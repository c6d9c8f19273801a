//! One cell of the matrix: one event, in one state, on one kind of node.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;

use thence_core::{Deferred, Failure, Kind as Reported, Never, Outcome, RemoteTrigger};
use thence_core::{Report, Stop, Trigger, hosting};

use crate::common::{Cell, Log, OnDrop, Reports, ending};
use crate::events::{Ends, Event};
use crate::kinds::{Kind, Made};

/// Where a source is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Pending,
    Fired,
    Failed,
    Stopped,
}

pub const STATES: [State; 4] = [State::Pending, State::Fired, State::Failed, State::Stopped];

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fired => "fired",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What was seen of a cell, in the columns of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    pub ran: String,
    pub waiter: String,
    pub reported: String,
    pub value: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {} | {}", self.ran, self.waiter, self.reported, self.value)
    }
}

pub struct Case {
    event: &'static Event,
    log: Log,
    producer: Producer,
    d: Option<Deferred<Item>>,
    told: Cell<String>,
    fate: Fate,
}

enum Producer {
    Here(Trigger<Item>),
    Remote(RemoteTrigger<Item>),
    /// A ready value has none; one that has ended has none any more.
    None,
}

impl Case {
    /// Runs a cell, and says what was seen under which state.
    pub fn run(
        kind: &Kind,
        event: &'static Event,
        state: State,
        reports: &Reports,
    ) -> Vec<(&'static str, Seen)> {
        let mut case = Self::new(kind, event);
        (event.before)(&mut case);
        match event.ends {
            Ends::Here => case.end(state),
            Ends::InACallback => case = case.inside(move |case| case.end(state)),
            Ends::Away => case.end_away(state),
        }
        hosting::run_until_idle();
        (event.after)(&mut case);
        let mut seen = vec![(state.name(), case.seen(reports))];
        if state == State::Pending {
            match event.ends {
                Ends::Here | Ends::InACallback => case.end(State::Fired),
                Ends::Away => case.end_away(State::Fired),
            }
            hosting::run_until_idle();
            seen.push(("then fired", case.seen(reports)));
        }
        seen
    }

    fn new(kind: &Kind, event: &'static Event) -> Self {
        let log = Log::new();
        let (mut producer, mut made) = (Producer::None, None);
        if !matches!(kind.made, Made::Ready) {
            let (trigger, d) = Deferred::new();
            trigger.on_unclaimed(|item: Item| item.went("back"));
            if event.hook {
                trigger.on_cancel(log.noting("hook"));
            }
            (producer, made) = match kind.made {
                Made::Behind(build) => (Producer::Here(trigger), Some(build(d))),
                _ => (Producer::Remote(trigger.remote()), Some(d)),
            };
        }
        Self { event, log, producer, d: made, told: Cell::new(), fate: Fate::default() }
    }

    /// Brings its source into `state`.
    fn end(&mut self, state: State) {
        let outcome = match state {
            State::Pending => return,
            State::Fired => Outcome::Ok(self.item()),
            State::Failed if self.event.loud => Outcome::Err(Loud.into()),
            State::Failed => Outcome::Err(Failure::msg("no")),
            State::Stopped => Outcome::Stop(Stop::lost()),
        };
        match (std::mem::replace(&mut self.producer, Producer::None), outcome) {
            (Producer::None, outcome) => self.d = Some(Deferred::ended(outcome)),
            // What loses a trigger is its drop.
            (_, Outcome::Stop(_)) => (),
            (Producer::Here(trigger), outcome) => trigger.settle(outcome),
            (Producer::Remote(trigger), outcome) => trigger.settle(outcome),
        }
    }

    fn inside(self, body: impl FnOnce(&mut Self) + 'static) -> Self {
        let slot = Cell::new();
        let back = slot.clone();
        Deferred::<(), Never>::ok(()).done(move |()| {
            let mut case = self;
            case.log.add("begins");
            body(&mut case);
            if let Some(inside) = case.event.inside {
                inside(&mut case);
            }
            case.log.add("ends");
            back.put(case);
        });
        slot.take().expect("outside any callback it has run")
    }

    fn end_away(&mut self, state: State) {
        let remote = match std::mem::replace(&mut self.producer, Producer::None) {
            Producer::Here(trigger) => trigger.remote(),
            Producer::Remote(remote) => remote,
            Producer::None => unreachable!("a ready value is not fired from another thread"),
        };
        let item = (state == State::Fired).then(|| self.item());
        let there = thread::spawn(move || {
            match (state, item) {
                (State::Failed, _) => remote.fail(Failure::msg("no")),
                (State::Stopped, _) => drop(remote),
                (_, Some(item)) => remote.fire(item),
                (_, None) => return Some(remote),
            }
            None
        });
        self.log.add("away");
        match there.join().unwrap() {
            Some(remote) => self.producer = Producer::Remote(remote),
            None => self.log.add("home"),
        }
    }

    fn item(&self) -> Item {
        Item { fate: self.fate.clone(), how: "dropped", loud: self.event.loud }
    }

    fn seen(&self, reports: &Reports) -> Seen {
        Seen {
            ran: self.log.take().join(", "),
            waiter: self.told.take().unwrap_or_else(|| "-".to_owned()),
            reported: reports.take().iter().map(told).collect::<Vec<_>>().join(", "),
            value: std::mem::take(&mut *self.fate.lock().unwrap()).join(", "),
        }
    }
}

/// What events do.
impl Case {
    fn take(&mut self) -> Deferred<Item> {
        self.d.take().expect("nobody took it yet")
    }

    /// Waits for the whole outcome.
    pub fn attach(&mut self) {
        let (log, told) = (self.log.clone(), self.told.clone());
        self.take().settled().done(move |outcome| {
            log.add("waiter");
            told.put(ending(&outcome));
            if let Outcome::Ok(item) = outcome {
                item.went("taken");
            }
        });
    }

    pub fn drop(&mut self) {
        drop(self.take());
    }

    /// Stops awaiting.
    pub fn leave(&mut self) {
        let d = self.take();
        let is_ready = d.is_ready();
        let mut wait = d.into_future();
        if !is_ready {
            let mut task = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut wait).poll(&mut task).is_pending());
        }
        drop(wait);
    }

    pub fn cancel(&mut self) {
        self.d.as_ref().expect("nobody took it yet").cancel();
    }

    pub fn step(&mut self) {
        let noted = self.log.noting("step");
        self.d = Some(self.take().inspect(|_| noted()));
    }

    /// A step whose callback panics, whatever it is given.
    pub fn panicking_step(&mut self) {
        let noted = self.log.noting("step");
        self.d = Some(self.take().then(|outcome| -> Result<Item, Failure> {
            let _outcome = outcome;
            noted();
            panic!("here");
        }));
    }

    /// Two steps that own something whose drop panics; the one that runs lets it go unharmed.
    pub fn bombs(&mut self) {
        let (a, b) = (bomb(), bomb());
        let d = self.take().inspect(|_| std::mem::forget(a));
        self.d = Some(d.inspect_err(|_| std::mem::forget(b)));
    }
}

fn bomb() -> OnDrop<impl FnOnce()> {
    OnDrop::new(|| panic!("bomb"))
}

fn told(report: &Report) -> String {
    match report.kind() {
        Reported::Lost => "lost".to_owned(),
        Reported::DestructorPanicked => {
            report.message().rsplit(": ").next().unwrap_or_default().to_owned()
        }
        _ => report.message().to_owned(),
    }
}

type Fate = Arc<Mutex<Vec<&'static str>>>;

/// The 7. It says what became of it, once.
pub struct Item {
    fate: Fate,
    how: &'static str,
    loud: bool,
}

impl Item {
    fn went(mut self, how: &'static str) {
        self.how = how;
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("7")
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.fate.lock().unwrap().push(self.how);
        if self.loud {
            panic!("bomb");
        }
    }
}

/// The failure `no`, whose drop panics.
#[derive(Debug)]
struct Loud;

impl fmt::Display for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

impl Error for Loud {}

impl Drop for Loud {
    fn drop(&mut self) {
        panic!("bomb");
    }
}
