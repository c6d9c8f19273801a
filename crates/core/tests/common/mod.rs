//! What every test here ends with: nothing leaked, and exactly the reports it expects.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

use thence_core::{Kind, Report, Stop, hosting, set_failure_hook, unhandled};

/// The reports of this thread, as they came.
#[derive(Clone, Default)]
pub struct Reports(Rc<RefCell<Vec<Report>>>, Rc<std::cell::Cell<u64>>);

impl Reports {
    /// Takes what was reported since the last look.
    pub fn take(&self) -> Vec<Report> {
        self.0.take()
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// So many went to a hook of the test's own.
    pub fn missed(&self, count: u64) {
        self.1.set(self.1.get() + count);
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Asserts that these messages were reported, in this order, and forgets them.
    #[track_caller]
    pub fn expect(&self, messages: &[&str]) {
        let reports = self.take();
        let seen: Vec<&str> = reports.iter().map(Report::message).collect();
        assert_eq!(seen, messages);
    }

    /// The same for what kinds they were of.
    #[track_caller]
    pub fn expect_kinds(&self, kinds: &[Kind]) {
        let seen: Vec<Kind> = self.take().iter().map(Report::kind).collect();
        assert_eq!(seen, kinds);
    }
}

/// Runs `body` on a thread of its own, and asserts that nothing of it is left and that every
/// report was expected.
pub fn checked(body: impl FnOnce(Reports) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        let reports = Reports::default();
        let seen = reports.clone();
        let before = set_failure_hook(move |report| {
            seen.missed(1);
            seen.0.borrow_mut().push(report.clone());
        });
        body(reports.clone());
        hosting::run_until_idle();
        let left: Vec<String> = reports.take().iter().map(ToString::to_string).collect();
        assert!(left.is_empty(), "unexpected reports: {left:#?}");
        assert_eq!(hosting::live(), hosting::Live::default(), "something is left");
        assert_eq!(unhandled(), reports.1.get(), "a report went past the hook");
        thence_core::restore_failure_hook(before);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, what: impl ToString) {
        self.0.borrow_mut().push(what.to_string());
    }

    /// A closure that notes `what` when it runs.
    pub fn noting(&self, what: impl ToString) -> impl FnOnce() + 'static {
        let (log, what) = (self.clone(), what.to_string());
        move || log.add(what)
    }

    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }

    #[track_caller]
    pub fn expect(&self, what: &[&str]) {
        assert_eq!(self.take(), what);
    }
}

/// Runs a closure when it is dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(f: F) -> Self {
        Self(Some(f))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// A place for something that a closure made.
pub struct Cell<T>(Rc<RefCell<Option<T>>>);

impl<T> Cell<T> {
    pub fn new() -> Self {
        Self(Rc::default())
    }

    pub fn put(&self, value: T) {
        let old = self.0.borrow_mut().replace(value);
        drop(old);
    }

    pub fn take(&self) -> Option<T> {
        self.0.borrow_mut().take()
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_none()
    }

    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(self.0.borrow_mut().as_mut().expect("the cell is filled"))
    }
}

impl<T> Clone for Cell<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Debug> Debug for Cell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.borrow().fmt(f)
    }
}

/// The word for how something ended.
pub fn ending<T: Debug, E: thence_core::Fault>(outcome: &thence_core::Outcome<T, E>) -> String {
    match outcome {
        thence_core::Outcome::Ok(value) => format!("ok {value:?}"),
        thence_core::Outcome::Err(error) => format!("err {}", error.message()),
        thence_core::Outcome::Stop(Stop::Cancelled) => "cancelled".to_owned(),
        thence_core::Outcome::Stop(Stop::Lost(_)) => "lost".to_owned(),
        thence_core::Outcome::Stop(stop) => stop.to_string(),
    }
}

/// Keeps an outcome for later, and gives the cell it will be in.
pub fn outcome_of<T: Debug + 'static, E: thence_core::Fault>(
    d: thence_core::Deferred<T, E>,
) -> Cell<String> {
    let cell = Cell::new();
    let kept = cell.clone();
    d.settled().done(move |outcome| kept.put(ending(&outcome)));
    cell
}

/// How many of everything: a million, or `THENCE_MANY`. Under a sanitizer, which makes each of them
/// ten times as dear and looks for something else, fewer.
pub fn a_million() -> usize {
    match std::env::var("THENCE_MANY") {
        Ok(text) => text.parse().expect("THENCE_MANY is a number"),
        Err(_) if cfg!(thence_no_free_list) => 100_000,
        Err(_) => 1_000_000,
    }
}

/// Runs `body` on a thread with a small stack, and asserts that nothing of it is left and nothing
/// was reported.
pub fn on_a_small_stack(body: impl FnOnce() + Send + 'static) {
    on_a_small_stack_with_reports(0, body);
}

/// The same for what is reported so many times.
pub fn on_a_small_stack_with_reports(reports: u64, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
        body();
        assert_eq!(hosting::live(), hosting::Live::default());
        assert_eq!(unhandled(), reports);
    });
    thread.unwrap().join().unwrap();
}
