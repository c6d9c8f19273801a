//! The default error: any error, with the steps it passed through.
//!
//! Users' code: `Display` and `source` of the error run for whoever asks, with nothing borrowed;
//! what core itself asks is guarded in `report`. The chain of causes is cut.

mod trail;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use self::trail::Trail;
use crate::fault::Step;

/// Any error, with the steps it passed through.
///
/// One word, cheap to move and to clone. It is made from every `Error + Send + Sync` by `?`, from
/// a message by [`Failure::msg`], and shown three ways: `{}` is the outermost message, `{:#}` the
/// message with its causes on one line, `{:?}` adds the trail, so that
/// `fn main() -> Result<(), Failure>` prints what an operator needs. With `RUST_BACKTRACE=1` it
/// also keeps, and shows, the backtrace of the code that made it.
///
/// Like other carriers of any error it is no `std::error::Error` itself; it turns into a
/// `Box<dyn Error + Send + Sync>` where one is asked for.
///
/// ```
/// use thence_core::Failure;
///
/// fn port(text: &str) -> Result<u16, Failure> {
///     Ok(text.parse::<u16>()?)
/// }
///
/// let failure = port("eighty").unwrap_err().context("PORT is not a number");
/// assert_eq!(failure.to_string(), "PORT is not a number");
/// assert_eq!(format!("{failure:#}"), "PORT is not a number: invalid digit found in string");
/// assert!(failure.is::<std::num::ParseIntError>());
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    error: Arc<Cause>,
    /// Outermost last.
    contexts: Vec<String>,
    trail: Trail,
}

/// What went wrong, and the stack at that moment if `RUST_BACKTRACE` asks for it.
struct Cause {
    error: Box<dyn Error + Send + Sync>,
    backtrace: Option<Arc<Backtrace>>,
}

impl Failure {
    /// A failure that is only a message.
    ///
    /// ```
    /// # use thence_core::Failure;
    /// assert_eq!(Failure::msg("no such user").to_string(), "no such user");
    /// ```
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::boxed(Box::new(Message(message.to_string())))
    }

    /// A failure of an error that is boxed already.
    ///
    /// ```
    /// use std::error::Error;
    /// use thence_core::Failure;
    ///
    /// fn older_code() -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     Err("out of paper".into())
    /// }
    /// let failure = older_code().map_err(Failure::boxed).unwrap_err();
    /// assert_eq!(failure.to_string(), "out of paper");
    /// ```
    pub fn boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| Arc::new(backtrace));
        Self(Arc::new(Inner {
            error: Arc::new(Cause { error, backtrace }),
            contexts: Vec::new(),
            trail: Trail::default(),
        }))
    }

    /// Says what was being done when it failed; shown before the message it had.
    ///
    /// ```
    /// # use thence_core::Failure;
    /// let failure = Failure::msg("connection refused").context("cannot load the page");
    /// assert_eq!(failure.to_string(), "cannot load the page");
    /// assert_eq!(format!("{failure:#}"), "cannot load the page: connection refused");
    /// ```
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        Arc::make_mut(&mut self.0).contexts.push(context.to_string());
        self
    }

    /// Whether the error inside is an `E`.
    ///
    /// ```
    /// # use thence_core::Failure;
    /// let failure = Failure::from("x".parse::<u8>().unwrap_err()).context("no port");
    /// assert!(failure.is::<std::num::ParseIntError>()); // below its context, too
    /// ```
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.0.error.error.is::<E>()
    }

    /// The error inside, if it is an `E`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// # use thence_core::Failure;
    ///
    /// let failure = Failure::from(Error::from(ErrorKind::NotFound));
    /// let kind = failure.downcast_ref().map(Error::kind);
    /// assert_eq!(kind, Some(ErrorKind::NotFound));
    /// ```
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.error.error.downcast_ref()
    }

    /// Takes the error out if it is an `E`, and gives the failure back if it is not, so that `?`
    /// passes on what one cannot handle.
    ///
    /// # Errors
    ///
    /// The failure itself: when the error inside is not an `E`, or while clones of the failure
    /// are alive (then use [`Failure::downcast_ref`]).
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use thence_core::Failure;
    ///
    /// let failure = Failure::from("x".parse::<i32>().unwrap_err());
    /// let parse: ParseIntError = failure.trap()?;
    /// assert_eq!(parse.to_string(), "invalid digit found in string");
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn trap<E: Error + Send + Sync + 'static>(self) -> Result<E, Self> {
        if !self.is::<E>() {
            return Err(self);
        }
        let inner = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner,
            Err(shared) => return Err(Self(shared)),
        };
        let Inner { error, contexts, trail } = inner;
        match Arc::try_unwrap(error) {
            Ok(Cause { error, backtrace }) => match error.downcast::<E>() {
                Ok(error) => Ok(*error),
                Err(error) => {
                    let error = Arc::new(Cause { error, backtrace });
                    Err(Self(Arc::new(Inner { error, contexts, trail })))
                }
            },
            Err(error) => Err(Self(Arc::new(Inner { error, contexts, trail }))),
        }
    }

    /// The sites of the steps it passed through, first to last. Long trails keep their first and
    /// last 16.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, testing};
    ///
    /// testing::check_flow(async {
    ///     let failure = Deferred::<u8>::err(Failure::msg("no")).map(|n| n + 1).await.unwrap_err();
    ///     assert_eq!(failure.sites().count(), 3); // `err`, `map`, `await`
    ///     Ok(())
    /// });
    /// ```
    pub fn sites(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.steps().map(|step| step.site)
    }

    /// The steps it passed through, first to last, with their labels.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, testing};
    ///
    /// testing::check_flow(async {
    ///     let read = Deferred::<u8>::err(Failure::msg("no")).named("read");
    ///     let failure = read.await.unwrap_err();
    ///     assert_eq!(failure.steps().next().unwrap().label, Some("read"));
    ///     Ok(())
    /// });
    /// ```
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.0.trail.steps()
    }

    /// The stack where the error became a failure, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE`
    /// asked for it when the process began.
    ///
    /// ```
    /// # use thence_core::Failure;
    /// let failure = Failure::msg("no");
    /// match failure.backtrace() {
    ///     Some(backtrace) => println!("{backtrace}"),
    ///     None => println!("run it with RUST_BACKTRACE=1"),
    /// }
    /// ```
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.0.error.backtrace.as_deref()
    }

    /// What `{:?}` shows, without the backtrace: the message with its causes, and the trail.
    ///
    /// To find the names of a backtrace's frames takes tens of milliseconds, for which a loop that
    /// logs a failure would stand still.
    ///
    /// ```
    /// # use thence_core::Failure;
    /// let failure = Failure::msg("connection refused").context("cannot load the page");
    /// let shown = failure.without_backtrace().to_string();
    /// assert_eq!(shown, "cannot load the page: connection refused");
    /// ```
    pub fn without_backtrace(&self) -> impl fmt::Display + '_ {
        WithoutBacktrace(self)
    }

    /// The backtrace, to be shown later.
    pub(crate) fn kept_backtrace(&self) -> Option<Arc<Backtrace>> {
        self.0.error.backtrace.clone()
    }

    pub(crate) fn pass(&mut self, step: Step) {
        Arc::make_mut(&mut self.0).trail.push(step);
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::boxed(Box::new(error))
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        Box::new(Standard::new(failure))
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::new(Standard::new(failure))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.0.error.error;
        if !f.alternate() {
            return match self.0.contexts.last() {
                Some(context) => f.write_str(context),
                None => write!(f, "{error}"),
            };
        }
        for context in self.0.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        write_with_causes(f, &**error)
    }
}

/// Writes an error and what it says of its causes. A chain of causes that leads back into itself
/// would never end: it is cut.
pub(crate) fn write_with_causes(to: &mut impl fmt::Write, error: &dyn Error) -> fmt::Result {
    write!(to, "{error}")?;
    let mut cause = error.source();
    for _ in 0..CAUSES_SHOWN {
        let Some(error) = cause else { return Ok(()) };
        write!(to, ": {error}")?;
        cause = error.source();
    }
    if cause.is_some() { to.write_str(": ..") } else { Ok(()) }
}

/// What [`Failure::without_backtrace`] gives.
struct WithoutBacktrace<'a>(&'a Failure);

impl fmt::Display for WithoutBacktrace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)?;
        self.0.0.trail.write(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.without_backtrace())?;
        match self.backtrace() {
            Some(backtrace) => write!(f, "\nbacktrace:\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// Adds [`Failure::context`] to a `Result`.
///
/// ```
/// use thence_core::{Context, Failure};
///
/// fn port(text: &str) -> Result<u16, Failure> {
///     text.parse::<u16>().context("PORT is no number")
/// }
/// assert_eq!(port("eighty").unwrap_err().to_string(), "PORT is no number");
/// ```
pub trait Context<T> {
    /// Turns the error into a [`Failure`] that says what was being done.
    ///
    /// # Errors
    ///
    /// The error it had, with `context` before it.
    ///
    /// ```
    /// use thence_core::Context;
    ///
    /// let failed: Result<u8, _> = "x".parse::<u8>();
    /// assert_eq!(failed.context("no port").unwrap_err().to_string(), "no port");
    /// ```
    fn context(self, context: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(context))
    }
}

#[derive(Debug)]
struct Message(String);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Message {}

/// A failure as a standard error: a message, and what it says of the cause as `source`.
struct Standard {
    failure: Failure,
    /// Which of the contexts it shows; 0 is the error itself.
    level: usize,
    source: Option<Box<Self>>,
}

impl Standard {
    fn new(failure: Failure) -> Self {
        let all = failure.0.contexts.len();
        let error = Self { failure, level: 0, source: None };
        (1..=all).fold(error, |source, level| Self {
            failure: source.failure.clone(),
            level,
            source: Some(Box::new(source)),
        })
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level.checked_sub(1) {
            Some(context) => f.write_str(&self.failure.0.contexts[context]),
            None => write!(f, "{}", self.failure.0.error.error),
        }
    }
}

/// As the failure shows itself: this is what `fn main() -> Result<(), Box<dyn Error>>` prints.
impl fmt::Debug for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.failure, f)
    }
}

impl Error for Standard {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match (&self.source, self.level) {
            (None, _) => self.failure.0.error.error.source(),
            // The last hop leads to the error itself, so that it can be downcast.
            (Some(_), 1) => Some(&*self.failure.0.error.error),
            (Some(source), _) => Some(&**source),
        }
    }
}

const CAUSES_SHOWN: usize = 64;
