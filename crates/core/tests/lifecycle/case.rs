//! One cell of the matrix: one event, in one state, on one kind of node.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;

use thence_core::{
    Canceller, Deferred, Ends as Trail, Fault, Kind as Reported, Never, Outcome, RemoteTrigger,
    Report, Step, Stop, Trigger, hosting,
};

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
    hands: Hands,
    producer: Producer,
    fate: Fate,
}

/// What events act on; a user's type keeps a clone of it, and acts on it while a node changes.
#[derive(Clone)]
pub struct Hands {
    log: Log,
    d: Cell<Deferred<Item, No>>,
    canceller: Cell<Canceller>,
    told: Cell<String>,
}

enum Producer {
    Here(Trigger<Item, No>),
    Remote(RemoteTrigger<Item, No>),
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
        (event.before)(&case.hands);
        match event.ends {
            Ends::Here => case.end(state),
            Ends::InACallback => case = case.inside(move |case| case.end(state)),
            Ends::Away => case.end_away(state),
        }
        hosting::run_until_idle();
        (event.after)(&case.hands);
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
        let (mut producer, d) = (Producer::None, Cell::new());
        let canceller = Cell::new();
        if !matches!(kind.made, Made::Ready) {
            let (trigger, source) = Deferred::with_error();
            trigger.on_unclaimed(|item: Item| item.went("back"));
            if event.hook {
                trigger.on_cancel(log.noting("hook"));
            }
            let made;
            (producer, made) = match kind.made {
                Made::Behind(build) => (Producer::Here(trigger), build(source)),
                _ => (Producer::Remote(trigger.remote()), source),
            };
            canceller.put(made.canceller());
            d.put(made);
        }
        let hands = Hands { log, d, canceller, told: Cell::new() };
        Self { event, hands, producer, fate: Fate::default() }
    }

    /// Brings its source into `state`.
    fn end(&mut self, state: State) {
        let outcome = match state {
            State::Pending => return,
            State::Fired => Outcome::Ok(self.item()),
            State::Failed => Outcome::Err(self.no()),
            State::Stopped => Outcome::Stop(Stop::lost()),
        };
        match (std::mem::replace(&mut self.producer, Producer::None), outcome) {
            (Producer::None, outcome) => self.hands.d.put(Deferred::ended(outcome)),
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
            case.hands.log.add("begins");
            body(&mut case);
            if let Some(inside) = case.event.inside {
                inside(&case.hands);
            }
            case.hands.log.add("ends");
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
        let no = self.no();
        let there = thread::spawn(move || {
            match (state, item) {
                (State::Failed, _) => remote.fail(no),
                (State::Stopped, _) => drop(remote),
                (_, Some(item)) => remote.fire(item),
                (_, None) => return Some(remote),
            }
            None
        });
        self.hands.log.add("away");
        match there.join().unwrap() {
            Some(remote) => self.producer = Producer::Remote(remote),
            None => self.hands.log.add("home"),
        }
    }

    /// The failure, whose telling does what the event says.
    fn no(&self) -> No {
        if let Some(acts) = self.event.told {
            let hands = self.hands.clone();
            AT_TOLD.with_borrow_mut(|at_told| *at_told = Some(Box::new(move || acts(&hands))));
        }
        No { loud: self.event.loud }
    }

    fn item(&self) -> Item {
        Item { fate: self.fate.clone(), how: "dropped", loud: self.event.loud }
    }

    fn seen(&self, reports: &Reports) -> Seen {
        Seen {
            ran: self.hands.log.take().join(", "),
            waiter: self.hands.told.take().unwrap_or_else(|| "-".to_owned()),
            reported: reports.take().iter().map(told).collect::<Vec<_>>().join(", "),
            value: std::mem::take(&mut *self.fate.lock().unwrap()).join(", "),
        }
    }
}

/// What events do.
impl Hands {
    fn take(&self) -> Deferred<Item, No> {
        self.d.take().expect("nobody took it yet")
    }

    /// Whether nobody took the Deferred yet.
    pub fn is_left(&self) -> bool {
        !self.d.is_empty()
    }

    /// Waits for the whole outcome.
    pub fn attach(&self) {
        let (log, told) = (self.log.clone(), self.told.clone());
        self.take().settled().done(move |outcome| {
            log.add("waiter");
            told.put(ending(&outcome));
            if let Outcome::Ok(item) = outcome {
                item.went("taken");
            }
        });
    }

    pub fn drop(&self) {
        drop(self.take());
    }

    /// Stops awaiting.
    pub fn leave(&self) {
        let d = self.take();
        let is_ready = d.is_ready();
        let mut wait = d.into_future();
        if !is_ready {
            let mut task = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut wait).poll(&mut task).is_pending());
        }
        drop(wait);
    }

    pub fn cancel(&self) {
        if self.is_left() {
            self.d.with(|d| d.cancel());
        } else {
            // Whoever took it waits; what is behind it is asked.
            self.canceller.with(|canceller| canceller.cancel());
        }
    }

    pub fn step(&self) {
        let noted = self.log.noting("step");
        self.d.put(self.take().inspect(|_| noted()));
    }

    /// A step that is passed by, and attaches the waiter to its own Deferred as it is dropped.
    pub fn extending_step(&self) {
        let hands = self.clone();
        let extends = OnDrop::new(move || {
            if hands.is_left() {
                hands.attach();
            }
        });
        let (d, log) = (self.take(), self.log.clone());
        self.d.put(d.or_else(move |no| {
            let _extends = extends;
            log.add("step");
            Err::<Item, _>(no)
        }));
    }

    /// A step whose callback panics, whatever it is given.
    pub fn panicking_step(&self) {
        let noted = self.log.noting("step");
        self.d.put(self.take().then(|outcome| -> Result<Item, No> {
            let _outcome = outcome;
            noted();
            panic!("here");
        }));
    }

    /// Two steps that own something whose drop panics; the one that runs lets it go unharmed.
    pub fn bombs(&self) {
        let (a, b) = (bomb(), bomb());
        let d = self.take().inspect(|_| std::mem::forget(a));
        self.d.put(d.inspect_err(|_| std::mem::forget(b)));
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

thread_local! {
    /// What the next error does that is told of a step.
    static AT_TOLD: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// The failure `no`. Told of a step, it does what is armed; its drop may panic.
#[derive(Debug)]
pub struct No {
    loud: bool,
}

impl Fault for No {
    type Trail = Trail;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, trail: &mut Trail, step: Step) {
        trail.push(step);
        if let Some(acts) = AT_TOLD.take() {
            acts();
        }
    }

    fn message(&self) -> String {
        "no".to_owned()
    }

    fn steps(&self, trail: &Trail) -> Vec<Step> {
        trail.steps()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

impl Drop for No {
    fn drop(&mut self) {
        if self.loud {
            panic!("bomb");
        }
    }
}
