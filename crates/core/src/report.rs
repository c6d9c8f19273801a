//! Where what nobody handled goes: the failure hook of the thread.
//!
//! Users' code: the failure hook runs out of its cell, and not within itself; errors are asked
//! with the thread held; the subscriber is told quietly. Hooks and errors are dropped under
//! guards.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::Stop;
use crate::fault::{Fault, Step};
use crate::guarded::{Guarded, Settling, let_go};
use crate::node::{cx, hold, run_guarded};
use crate::outcome::{Panic, drop_payload};
use crate::slot::Slot;

/// Something that reached its end unhandled: an error, a panic, or a lost trigger.
///
/// `{}` shows all that is known of it, and `{:#}` all but the backtrace of a
/// [`Failure`](crate::Failure), whose frames take tens of milliseconds to name.
///
/// ```
/// use thence_core::{Deferred, Failure, Kind, testing::expect_unhandled};
///
/// let reports = expect_unhandled(1, || Deferred::<u8>::err(Failure::msg("refused")).report());
/// assert_eq!((reports[0].kind(), reports[0].message()), (Kind::Failed, "refused"));
/// println!("{}", reports[0]);
/// // unhandled: refused
/// //     at src/main.rs:3:38
/// //     at src/main.rs:3:82
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    kind: Kind,
    message: String,
    steps: Vec<Step>,
    /// What a `Failure` says of itself, which is more than message and steps.
    whole_text: Option<String>,
    /// Of a `Failure`; its frames are named when it is shown.
    backtrace: Option<Arc<Backtrace>>,
    cause: Option<&'static str>,
    request: Option<Arc<str>>,
}

/// What a [`Report`] is about.
///
/// ```
/// use thence_core::{Deferred, Kind, testing::expect_unhandled};
///
/// let reports = expect_unhandled(1, || {
///     let (trigger, d) = Deferred::<u8>::new();
///     d.report();
///     drop(trigger);
/// });
/// assert_eq!(reports[0].kind(), Kind::Lost);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A destructor, a hook or an error that was asked for its message panicked, outside any step.
    DestructorPanicked,
    /// An error that nobody handled.
    Failed,
    /// A trigger that was dropped unfired, or a flow that nothing can wake.
    Lost,
    /// A callback panicked.
    Panicked,
}

impl Report {
    pub(crate) fn failed<E: Fault>(error: &E, trail: &E::Trail) -> Self {
        let mut steps = Vec::new();
        run_guarded(|| steps = error.steps(trail));
        let any: &dyn std::any::Any = error;
        let failure = any.downcast_ref::<crate::Failure>();
        let whole_text =
            failure.and_then(|failure| asked(|| failure.without_backtrace().to_string()).ok());
        let backtrace = failure.and_then(crate::Failure::kept_backtrace);
        let (kind, message) = Self::of_message(error);
        Self { whole_text, backtrace, ..Self::new(kind, message, steps) }
    }

    /// Of an error for which no trail could be made.
    pub(crate) fn without_trail<E: Fault>(error: &E) -> Self {
        let (kind, message) = Self::of_message(error);
        Self::new(kind, message, Vec::new())
    }

    fn of_message<E: Fault>(error: &E) -> (Kind, String) {
        match message_of(error) {
            Ok(message) => (Kind::Failed, message),
            Err(instead) => (Kind::DestructorPanicked, instead),
        }
    }

    /// `None` for a cancellation: that was asked for.
    pub(crate) fn stopped(stop: &Stop, site: &'static Location<'static>) -> Option<Self> {
        let kind = match stop {
            Stop::Cancelled => return None,
            Stop::Lost(_) => Kind::Lost,
            Stop::Panicked(_) => Kind::Panicked,
        };
        let mut steps: Vec<Step> = stop.origin().into_iter().collect();
        if steps.iter().all(|origin| origin.site != site) {
            steps.push(Step { site, label: None });
        }
        Some(Self::new(kind, stop.to_string(), steps))
    }

    pub(crate) fn destructor(
        payload: Box<dyn std::any::Any + Send>,
        site: Option<&'static Location<'static>>,
    ) -> Self {
        let step = site.map(|site| Step { site, label: None });
        let panic = Panic::new(payload, step);
        Self::in_destructor(panic.message(), step)
    }

    pub(crate) fn in_destructor(message: &str, step: Option<Step>) -> Self {
        let message = format!("panicked in a destructor or a hook: {message}");
        Self::new(Kind::DestructorPanicked, message, step.into_iter().collect())
    }

    fn new(kind: Kind, message: String, steps: Vec<Step>) -> Self {
        let request = crate::flow_context::request_id();
        Self { kind, message, steps, whole_text: None, backtrace: None, cause: None, request }
    }

    /// Says which event it began with.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, testing::expect_unhandled};
    /// let reports = expect_unhandled(1, || Deferred::<u8>::err(Failure::msg("refused")).report());
    /// let report = reports[0].clone().caused_by("Login");
    /// assert!(report.to_string().ends_with("began with Login"));
    /// ```
    #[must_use]
    pub fn caused_by(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    /// What it is about.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, Kind, testing::expect_unhandled};
    /// let reports = expect_unhandled(1, || Deferred::<u8>::ok(0).map(|n| 10 / n).report());
    /// assert_eq!(reports[0].kind(), Kind::Panicked);
    /// ```
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message, with its causes, on one line.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, testing::expect_unhandled};
    /// let failure = Failure::msg("refused").context("no page");
    /// let reports = expect_unhandled(1, || Deferred::<u8>::err(failure).report());
    /// assert_eq!(reports[0].message(), "no page: refused");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where the Deferred was made: the first site of the trail.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, testing::expect_unhandled};
    /// let line = line!() + 1;
    /// let reports = expect_unhandled(1, || Deferred::<u8>::err(Failure::msg("refused")).report());
    /// assert_eq!(reports[0].site().unwrap().line(), line);
    /// ```
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.steps.first().map(|step| step.site)
    }

    /// The steps it passed, first to last.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, testing::expect_unhandled};
    /// let refused = || Deferred::<u8>::err(Failure::msg("refused")).map(|n| n).named("read");
    /// let reports = expect_unhandled(1, move || refused().report());
    /// assert_eq!(reports[0].steps()[1].label, Some("read"));
    /// ```
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The type of the event it began with, where that is known.
    ///
    /// ```
    /// use thence_core::{Emitter, Failure, testing::expect_unhandled};
    ///
    /// struct Login;
    ///
    /// let emitter = Emitter::new();
    /// emitter.on(|_: &Login| Err::<(), _>(Failure::msg("refused")));
    /// let reports = expect_unhandled(1, || emitter.emit(Login));
    /// assert!(reports[0].cause().unwrap().ends_with("Login"));
    /// ```
    pub fn cause(&self) -> Option<&'static str> {
        self.cause
    }

    /// The request it belongs to: the id in the [`FlowContext`](crate::FlowContext) of what was
    /// left unhandled.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, FlowContext, testing::expect_unhandled};
    ///
    /// let request = FlowContext::current().with_request_id("r-17");
    /// let reports = expect_unhandled(1, || {
    ///     request.enter(|| Deferred::<u8>::err(Failure::msg("refused")).report());
    /// });
    /// assert_eq!(reports[0].request_id(), Some("r-17"));
    /// ```
    pub fn request_id(&self) -> Option<&str> {
        self.request.as_deref()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unhandled: ")?;
        match &self.whole_text {
            Some(text) => f.write_str(text)?,
            None => {
                f.write_str(&self.message)?;
                for step in &self.steps {
                    write!(f, "\n    at {step}")?;
                }
            }
        }
        if let (Some(backtrace), false) = (&self.backtrace, f.alternate()) {
            write!(f, "\nbacktrace:\n{backtrace}")?;
        }
        if let Some(cause) = self.cause {
            write!(f, "\n    began with {cause}")?;
        }
        match &self.request {
            Some(request) => write!(f, "\n    in request {request}"),
            None => Ok(()),
        }
    }
}

/// Replaces this thread's failure hook and gives back the one it had.
///
/// The hook is called at the instant something reaches an end unhandled, in the middle of
/// whatever dropped it, with the queue held. It is never called from within itself: what fails in
/// a hook, or panics there, goes to the default one, which is a `tracing` error, or a line on
/// stderr as long as no `tracing` subscriber has been set.
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// use thence_core::{Deferred, Failure, set_failure_hook};
///
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let log = seen.clone();
/// let before = set_failure_hook(move |report| log.borrow_mut().push(report.message().to_owned()));
///
/// Deferred::<u8>::err(Failure::msg("nobody looks at this")).report();
/// assert_eq!(*seen.borrow(), ["nobody looks at this"]);
/// thence_core::restore_failure_hook(before);
/// ```
pub fn set_failure_hook(hook: impl Fn(&Report) + 'static) -> FailureHook {
    replace_hook(FailureHook(Some(Rc::new(hook))))
}

/// Puts a hook back that [`set_failure_hook`] gave.
///
/// ```
/// use thence_core::{restore_failure_hook, set_failure_hook};
///
/// let before = set_failure_hook(|report| eprintln!("{report}"));
/// println!("what fails here is printed");
/// restore_failure_hook(before);
/// ```
pub fn restore_failure_hook(hook: FailureHook) {
    // The old one may own what sets a hook, or fails, when it is dropped.
    let_go(replace_hook(hook));
}

/// A hook that was replaced; to be put back with [`restore_failure_hook`].
///
/// ```
/// use thence_core::{FailureHook, restore_failure_hook, set_failure_hook};
///
/// struct Quiet(Option<FailureHook>);
///
/// impl Drop for Quiet {
///     fn drop(&mut self) {
///         self.0.take().map(restore_failure_hook);
///     }
/// }
/// drop(Quiet(Some(set_failure_hook(|_| ()))));
/// ```
pub struct FailureHook(Option<Rc<dyn Fn(&Report)>>);

impl fmt::Debug for FailureHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureHook").field("custom", &self.0.is_some()).finish()
    }
}

/// How many reports this thread has made, without those that
/// [`expect_unhandled`](crate::testing::expect_unhandled) expected.
///
/// ```
/// use thence_core::{Deferred, Failure, unhandled};
///
/// let before = unhandled();
/// Deferred::<u8>::err(Failure::msg("nobody looks at this")).report();
/// assert_eq!(unhandled(), before + 1);
/// ```
pub fn unhandled() -> u64 {
    COUNT.get()
}

/// Collects this thread's reports while it lives, whatever ends it; then the hook is the one it
/// was.
pub(crate) struct Collecting {
    reports: Rc<RefCell<Vec<Report>>>,
    hook: Option<FailureHook>,
    before: u64,
}

impl Collecting {
    pub(crate) fn begin() -> Self {
        let reports = Rc::<RefCell<Vec<Report>>>::default();
        let seen = reports.clone();
        let hook = set_failure_hook(move |report| seen.borrow_mut().push(report.clone()));
        Self { reports, hook: Some(hook), before: COUNT.get() }
    }

    /// How many were made since it began, those among them that went to another hook.
    pub(crate) fn made(&self) -> u64 {
        COUNT.get() - self.before
    }

    /// What was collected.
    pub(crate) fn take(&self) -> Vec<Report> {
        self.reports.take()
    }

    /// Takes what was made meanwhile out of the count.
    pub(crate) fn uncount(&self) {
        COUNT.set(self.before);
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        if let Some(hook) = self.hook.take() {
            restore_failure_hook(hook);
        }
    }
}

/// Hands `report` to this thread's failure hook, as if it had reached an end unhandled.
///
/// ```
/// use thence_core::{Deferred, Failure, raise, testing::expect_unhandled};
///
/// let reports = expect_unhandled(1, || Deferred::<u8>::err(Failure::msg("refused")).report());
/// expect_unhandled(1, || raise(&reports[0])); // once more
/// ```
pub fn raise(report: &Report) {
    let settling = Settling::begin();
    hand_over(report);
    settling.end();
}

/// As [`raise`], from within core: with the queue held, and what the hook fires runs when whoever
/// reports is through.
pub(crate) fn hand_over(report: &Report) {
    let held = hold();
    COUNT.set(COUNT.get() + 1);
    // A thread that is ending has no hook any more; the report is still made.
    let hook = HOOK.try_with(|cell| cell.0.borrow().clone());
    match hook {
        Ok(Some(hook)) if !IN_HOOK.replace(true) => {
            let mut went_well = false;
            // What fails in the hook ends while it is still called, and goes to the default one.
            cx().with_own_graves(|| {
                let ran = quietly(|| hook(report));
                let dropped = quietly(|| drop(hook));
                went_well = ran && dropped;
            });
            IN_HOOK.set(false);
            if !went_well {
                log(report);
                quietly(|| {
                    tracing::error!(
                        "the failure hook itself panicked; the report above was its work"
                    );
                });
            }
        }
        hook => {
            log(report);
            // The subscriber may have replaced it.
            quietly(|| drop(hook));
        }
    }
    drop(held);
}

/// What an error says of itself.
///
/// # Errors
///
/// That it panicked when it was asked, and what that panic said.
pub(crate) fn message_of<E: Fault>(error: &E) -> Result<String, String> {
    asked(|| error.message())
        .map_err(|panic| format!("an error whose message panicked: {}", panic.message()))
}

/// Asks a user's type for something, with the thread held.
fn asked<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    let held = hold();
    let answer = catch_unwind(AssertUnwindSafe(f));
    drop(held);
    answer.map_err(|payload| Panic::new(payload, None))
}

/// Runs a hook of a host's, wherever it is called: a panic is reported, and nothing is held.
pub(crate) fn reporting(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        hand_over(&Report::destructor(payload, None));
    }
}

/// Runs what has no other place to report a panic to: the failure hook, a subscriber. Says
/// whether it went well.
pub(crate) fn quietly(f: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => true,
        Err(payload) => {
            drop_payload(payload);
            false
        }
    }
}

/// Reports what is unhandled of an outcome and drops the rest.
pub(crate) fn unclaimed<T, E: Fault>(slot: Slot<T, E>, site: &'static Location<'static>) {
    match slot {
        Slot::Ok(value) => drop(value),
        Slot::Err(error, trail) => {
            hand_over(&Report::failed(&error, &trail));
            let trail = Guarded::new(trail);
            drop(error);
            drop(trail);
        }
        Slot::Stop(stop) => {
            if let Some(report) = Report::stopped(&stop, site) {
                hand_over(&report);
            }
        }
    }
}

fn log(report: &Report) {
    if !tracing::dispatcher::has_been_set() {
        // Nobody would hear of it. (A closed stderr is nobody's failure.)
        let _ = writeln!(std::io::stderr(), "{report}");
        return;
    }
    // A subscriber may panic; nothing unwinds out of a Deferred's drop.
    quietly(|| tracing::error!("{report}"));
}

/// A thread that is ending takes none.
fn replace_hook(hook: FailureHook) -> FailureHook {
    let new = Cell::new(hook.0);
    let old = HOOK.try_with(|cell| cell.0.replace(new.take())).unwrap_or_default();
    let_go(new);
    FailureHook(old)
}

/// The hook of a thread.
struct Hook(RefCell<Option<Rc<dyn Fn(&Report)>>>);

impl Drop for Hook {
    fn drop(&mut self) {
        // A panic here would be the end of the process.
        let_go(self.0.take());
    }
}

thread_local! {
    static HOOK: Hook = const { Hook(RefCell::new(None)) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}
