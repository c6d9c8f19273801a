//! How something that finishes later has ended.
//!
//! Users' code: what a panic carried is dropped with the thread held; a panic in that is reported.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fault::Step;
use crate::guarded::held;
use crate::report::{Report, hand_over};
use crate::{Failure, Fault};

/// How a [`Deferred`](crate::Deferred) ended.
///
/// `Ok` and `Err` are the data. `Stop` is what happened to the flow itself; steps such as `map`
/// and `or_else` never see it, only those that ask for the whole outcome do (`then`, `settled`).
///
/// ```
/// use thence_core::{Deferred, Outcome, Stop};
///
/// fn shown(outcome: &Outcome<u8>) -> String {
///     match outcome {
///         Outcome::Ok(value) => format!("gave {value}"),
///         Outcome::Err(failure) => format!("failed: {failure}"),
///         Outcome::Stop(Stop::Cancelled) => "was cancelled".to_owned(),
///         Outcome::Stop(stop) => format!("ended: {stop}"),
///     }
/// }
///
/// let d = Deferred::<u8>::ok(7).settled().map(|outcome| shown(&outcome));
/// d.done(|text| assert_eq!(text, "gave 7"));
/// ```
#[derive(Debug)]
#[must_use = "an outcome may be a failure or a stop; look at it, or it goes unseen"]
pub enum Outcome<T, E: Fault = Failure> {
    /// It produced a value.
    Ok(T),
    /// It failed.
    Err(E),
    /// It was cancelled, it panicked, or nobody was left to finish it.
    Stop(Stop),
}

impl<T, E: Fault> Outcome<T, E> {
    /// The value, if there is one; an error or a stop is dropped.
    ///
    /// ```
    /// use thence_core::{Outcome, Stop};
    ///
    /// assert_eq!(Outcome::<u8>::Ok(1).ok(), Some(1));
    /// assert_eq!(Outcome::<u8>::Stop(Stop::lost()).ok(), None);
    /// ```
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Ok(value) => Some(value),
            _ => None,
        }
    }

    /// The error, if there is one.
    ///
    /// ```
    /// use thence_core::{Failure, Outcome};
    ///
    /// let failed: Outcome<u8> = Outcome::Err(Failure::msg("closed"));
    /// assert_eq!(failed.err().unwrap().to_string(), "closed");
    /// ```
    pub fn err(self) -> Option<E> {
        match self {
            Self::Err(error) => Some(error),
            _ => None,
        }
    }

    /// Why it stopped, if it did.
    ///
    /// ```
    /// use thence_core::{Outcome, Stop};
    ///
    /// let lost: Outcome<u8> = Outcome::Stop(Stop::lost());
    /// assert!(matches!(lost.stop(), Some(Stop::Lost(_))));
    /// ```
    pub fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Stop(stop) => Some(stop),
            _ => None,
        }
    }

    /// Whether this is [`Outcome::Ok`].
    ///
    /// ```
    /// # use thence_core::Outcome;
    /// assert!(Outcome::<u8>::Ok(1).is_ok());
    /// ```
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether this is [`Outcome::Err`].
    ///
    /// ```
    /// # use thence_core::{Failure, Outcome};
    /// assert!(Outcome::<u8>::Err(Failure::msg("closed")).is_err());
    /// ```
    pub fn is_err(&self) -> bool {
        matches!(self, Self::Err(_))
    }

    /// Whether this is `Stop(Cancelled)`.
    ///
    /// ```
    /// # use thence_core::{Outcome, Stop};
    /// assert!(Outcome::<u8>::Stop(Stop::Cancelled).is_cancelled());
    /// assert!(!Outcome::<u8>::Stop(Stop::lost()).is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Stop(Stop::Cancelled))
    }

    /// Applies `f` to the value and leaves the other two lanes as they are.
    ///
    /// ```
    /// # use thence_core::Outcome;
    /// let outcome = Outcome::<u8>::Ok(7).map(|n| n.to_string());
    /// assert_eq!(outcome.ok().as_deref(), Some("7"));
    /// ```
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U, E> {
        match self {
            Self::Ok(value) => Outcome::Ok(f(value)),
            Self::Err(error) => Outcome::Err(error),
            Self::Stop(stop) => Outcome::Stop(stop),
        }
    }
}

impl<T> Outcome<T, Failure> {
    /// The outcome as a `Result`, a stop told as a [`Failure`].
    ///
    /// # Errors
    ///
    /// The failure itself, or one that says how the flow stopped.
    ///
    /// ```
    /// use thence_core::{Failure, Outcome, Stop};
    ///
    /// let cut: Outcome<u8> = Outcome::Stop(Stop::Cancelled);
    /// assert_eq!(cut.into_result().unwrap_err().to_string(), "cancelled");
    /// ```
    pub fn into_result(self) -> Result<T, Failure> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Err(failure) => Err(failure),
            Self::Stop(stop) => {
                let mut failure = Failure::msg(&stop);
                stop.origin().into_iter().for_each(|step| failure.pass(step));
                Err(failure)
            }
        }
    }
}

impl<T, E: Fault> From<Result<T, E>> for Outcome<T, E> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Err(error),
        }
    }
}

impl<T: Clone, E: Fault + Clone> Clone for Outcome<T, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Ok(value) => Self::Ok(value.clone()),
            Self::Err(error) => Self::Err(error.clone()),
            Self::Stop(stop) => Self::Stop(stop.clone()),
        }
    }
}

/// What happened to a flow that gave neither a value nor an error.
///
/// ```
/// use thence_core::Stop;
///
/// assert_eq!(Stop::Cancelled.to_string(), "cancelled");
/// assert_eq!(Stop::lost().to_string(), "lost: nothing is left that could finish it");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stop {
    /// Somebody asked for it, and the work ended without a value of its own.
    Cancelled,
    /// The trigger was dropped unfired, or nothing was left that could ever wake the flow.
    Lost(Lost),
    /// A callback panicked. The panic was caught; the loop went on.
    Panicked(Panic),
}

impl Stop {
    /// The Stop of something that nothing is left to finish, as the caller knows.
    ///
    /// ```
    /// use thence_core::Stop;
    ///
    /// let Stop::Lost(lost) = Stop::lost() else { unreachable!() };
    /// assert!(lost.site().file().ends_with(".rs"));
    /// ```
    #[track_caller]
    pub fn lost() -> Self {
        Self::lost_at(Step { site: Location::caller(), label: None })
    }

    pub(crate) fn lost_at(step: Step) -> Self {
        Self::Lost(Lost(Box::new(step)))
    }

    /// Where it began, as far as that is known: a report's first line.
    pub(crate) fn origin(&self) -> Option<Step> {
        match self {
            Self::Cancelled => None,
            Self::Lost(lost) => Some(*lost.0),
            Self::Panicked(panic) => panic.0.step,
        }
    }

    /// The Stop of a panic that somebody else caught, such as a pool's thread.
    ///
    /// ```
    /// use thence_core::Stop;
    ///
    /// let caught = std::panic::catch_unwind(|| panic!("out of paper")).unwrap_err();
    /// assert_eq!(Stop::panicked(caught).to_string(), "panicked: out of paper");
    /// ```
    pub fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self::Panicked(Panic::new(payload, None))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Lost(_) => f.write_str("lost: nothing is left that could finish it"),
            Self::Panicked(panic) => write!(f, "panicked: {}", panic.message()),
        }
    }
}

/// Where something was lost: what nobody is left to finish.
///
/// ```
/// use thence_core::{Deferred, Outcome, Stop};
///
/// let (trigger, answer) = Deferred::<u8>::new();
/// let answer = answer.named("answer").map(|n| n + 1);
/// drop(trigger);
/// answer.settled().done(|outcome| {
///     let Outcome::Stop(Stop::Lost(lost)) = outcome else { panic!("nobody fired it") };
///     assert_eq!(lost.label(), Some("answer"));
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Lost(Box<Step>);

impl Lost {
    /// Where the Deferred was made whose trigger is gone; of a flow, the await it stands at.
    pub fn site(&self) -> &'static Location<'static> {
        self.0.site
    }

    /// What `named` said of that.
    pub fn label(&self) -> Option<&'static str> {
        self.0.label
    }
}

/// A caught panic: its message, its payload, and the step that ran.
///
/// ```
/// use thence_core::{Deferred, Outcome, Stop};
///
/// let d = Deferred::<u8>::ok(0).map(|n| 10 / n);
/// d.settled().done(|outcome| {
///     let Outcome::Stop(Stop::Panicked(panic)) = outcome else { panic!("it divided by zero") };
///     println!("{} at {:?}", panic.message(), panic.site());
/// });
/// ```
#[derive(Clone)]
pub struct Panic(Arc<Caught>);

struct Caught {
    message: String,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    step: Option<Step>,
}

impl Drop for Caught {
    fn drop(&mut self) {
        let payload = self.payload.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(payload) = payload else { return };
        held(|| {
            if let Some(message) = drop_payload(payload) {
                hand_over(&Report::in_destructor(&message, self.step));
            }
        });
    }
}

/// Drops what a panic carried. It may panic when it is dropped, and so may the one it panics with:
/// what the first of these panics said.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) -> Option<String> {
    let mut payload = Some(payload);
    let mut message = None;
    for _ in 0..8 {
        match catch_unwind(AssertUnwindSafe(|| drop(payload.take()))) {
            Ok(()) => return message,
            Err(next) => {
                message.get_or_insert_with(|| text_of(&*next));
                payload = Some(next);
            }
        }
    }
    std::mem::forget(payload);
    message
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is not text".to_owned()
    }
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>, step: Option<Step>) -> Self {
        let message = text_of(&*payload);
        Self(Arc::new(Caught { message, payload: Mutex::new(Some(payload)), step }))
    }

    /// The text the code panicked with.
    ///
    /// ```
    /// # use thence_core::Stop;
    /// let caught = std::panic::catch_unwind(|| panic!("out of {}", "paper")).unwrap_err();
    /// let Stop::Panicked(panic) = Stop::panicked(caught) else { unreachable!() };
    /// assert_eq!(panic.message(), "out of paper");
    /// ```
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The site of the step whose callback panicked.
    ///
    /// `None` if the panic was caught outside a step.
    ///
    /// ```
    /// # use thence_core::{Deferred, Outcome, Stop};
    /// let d = Deferred::<u8>::ok(0).map(|n| 10 / n);
    /// let line = line!() - 1;
    /// d.settled().done(move |outcome| {
    ///     let Outcome::Stop(Stop::Panicked(panic)) = outcome else { unreachable!() };
    ///     assert_eq!(panic.site().unwrap().line(), line);
    /// });
    /// ```
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.0.step.map(|step| step.site)
    }

    /// What `named` said of that step.
    ///
    /// ```
    /// # use thence_core::{Deferred, Outcome, Stop};
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let d = d.map(|n| 10 / n).named("divide");
    /// trigger.fire(0);
    /// d.settled().done(|outcome| {
    ///     let Outcome::Stop(Stop::Panicked(panic)) = outcome else { unreachable!() };
    ///     assert_eq!(panic.label(), Some("divide"));
    /// });
    /// ```
    pub fn label(&self) -> Option<&'static str> {
        self.0.step.and_then(|step| step.label)
    }

    /// The panic's payload, for `std::panic::resume_unwind`; the first caller gets it.
    ///
    /// ```
    /// # use thence_core::Stop;
    /// let caught = std::panic::catch_unwind(|| std::panic::panic_any(7_u8)).unwrap_err();
    /// let Stop::Panicked(panic) = Stop::panicked(caught) else { unreachable!() };
    /// let payload = panic.take_payload().unwrap();
    /// assert_eq!(payload.downcast_ref(), Some(&7_u8));
    /// ```
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.0.message)
            .field("step", &self.0.step)
            .finish()
    }
}

/// The error of what cannot fail.
///
/// thence's own empty enum, because `std::convert::Infallible` is an `Error` and would make
/// `.await` give a `Result` where there is nothing to match on.
///
/// ```
/// use thence_core::{Deferred, Never, flow};
///
/// let safe: Deferred<u8, Never> = Deferred::<u8>::ok(7).recover(|_| 0);
/// flow(async move { Ok(safe.await + 1) }).report(); // plain `u8`
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// So that what cannot fail goes on as what can: `d.err_into()`, or `?`.
///
/// ```
/// use thence_core::{Deferred, Failure, Never};
///
/// let d: Deferred<&str, Never> = Deferred::ok("80");
/// let port = d.err_into::<Failure>().and_then(|text| Ok(text.parse::<u16>()?));
/// port.inspect(|port| assert_eq!(*port, 80)).report();
/// ```
impl From<Never> for Failure {
    fn from(never: Never) -> Self {
        match never {}
    }
}

/// Bits that say which lane an outcome is on, or which lanes a step has a callback for.
pub(crate) mod lane {
    pub(crate) const OK: u8 = 1;
    pub(crate) const ERR: u8 = 2;
    pub(crate) const STOP: u8 = 4;
    pub(crate) const ALL: u8 = OK | ERR | STOP;
}
