//! The default error: any error, with the steps it passed through.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::fault::Step;

/// Any error, with the steps it passed through.
///
/// One word, cheap to move and to clone. It is made from every `Error + Send + Sync` by `?`, from
/// a message by [`Failure::msg`], and shown three ways: `{}` is the outermost message, `{:#}` the
/// message with its causes on one line, `{:?}` adds the trail, so that
/// `fn main() -> Result<(), Failure>` prints what an operator needs.
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
    contexts: Vec<Cow<'static, str>>,
    trail: Trail,
}

/// Gives the boxed error a sized home, so that `Arc::try_unwrap` can hand it out again.
struct Cause(Box<dyn Error + Send + Sync>);

impl Failure {
    /// A failure that is only a message.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::boxed(Box::new(Message(message.to_string())))
    }

    /// A failure of an error that is boxed already.
    pub fn boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(Arc::new(Inner {
            error: Arc::new(Cause(error)),
            contexts: Vec::new(),
            trail: Trail::default(),
        }))
    }

    /// Says what was being done when it failed; shown before the message it had.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        Arc::make_mut(&mut self.0).contexts.push(Cow::Owned(context.to_string()));
        self
    }

    /// Whether the error inside is an `E`.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.0.error.0.is::<E>()
    }

    /// The error inside, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.error.0.downcast_ref()
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
            Ok(Cause(boxed)) => match boxed.downcast::<E>() {
                Ok(error) => Ok(*error),
                Err(boxed) => {
                    Err(Self(Arc::new(Inner { error: Arc::new(Cause(boxed)), contexts, trail })))
                }
            },
            Err(error) => Err(Self(Arc::new(Inner { error, contexts, trail }))),
        }
    }

    /// The sites of the steps it passed through, first to last. Long trails keep their first and
    /// last 16.
    pub fn sites(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.steps().map(|step| step.site)
    }

    /// The steps it passed through, first to last, with their labels.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        let trail = &self.0.trail;
        let steps: Vec<Step> =
            trail.first.iter().chain(trail.last.iter()).map(|counted| counted.step).collect();
        steps.into_iter()
    }

    pub(crate) fn pass(&mut self, step: Step) {
        Arc::make_mut(&mut self.0).trail.push(step);
    }

    /// Writes the trail, a step a line, each behind `indent`.
    pub(crate) fn write_trail(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let trail = &self.0.trail;
        for counted in &trail.first {
            write!(f, "\n{indent}{counted}")?;
        }
        if trail.omitted > 0 {
            write!(f, "\n{indent}.. {} more ..", trail.omitted)?;
        }
        for counted in &trail.last {
            write!(f, "\n{indent}{counted}")?;
        }
        Ok(())
    }

    fn messages(&self) -> impl Iterator<Item = String> {
        let mut messages: Vec<String> =
            self.0.contexts.iter().rev().map(|context| context.clone().into_owned()).collect();
        messages.push(self.0.error.0.to_string());
        let mut cause = self.0.error.0.source();
        while let Some(error) = cause {
            messages.push(error.to_string());
            cause = error.source();
        }
        messages.into_iter()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::boxed(Box::new(error))
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        Box::new(Standard(failure))
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::new(Standard(failure))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return match self.0.contexts.last() {
                Some(context) => f.write_str(context),
                None => write!(f, "{}", self.0.error.0),
            };
        }
        for (n, message) in self.messages().enumerate() {
            if n > 0 {
                f.write_str(": ")?;
            }
            f.write_str(&message)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")?;
        self.write_trail(f, "    at ")
    }
}

/// Adds [`Failure::context`] to a `Result`.
pub trait Context<T> {
    /// Turns the error into a [`Failure`] that says what was being done.
    ///
    /// # Errors
    ///
    /// The error it had, with `context` before it.
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

/// A failure as a standard error: the message, its causes as `source`.
#[derive(Debug)]
struct Standard(Failure);

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Standard {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if self.0.0.contexts.is_empty() {
            return self.0.0.error.0.source();
        }
        Some(&*self.0.0.error.0)
    }
}

/// The first and last steps, repeats folded.
#[derive(Clone, Default)]
struct Trail {
    first: Vec<Counted>,
    last: std::collections::VecDeque<Counted>,
    omitted: usize,
}

#[derive(Clone, Copy)]
struct Counted {
    step: Step,
    times: u32,
}

impl Trail {
    fn push(&mut self, step: Step) {
        let newest = self.last.back_mut().or(self.first.last_mut());
        if let Some(counted) = newest
            && counted.step == step
        {
            counted.times = counted.times.saturating_add(1);
            return;
        }
        let counted = Counted { step, times: 1 };
        if self.first.len() < KEPT {
            self.first.push(counted);
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
            self.omitted += 1;
        }
        self.last.push_back(counted);
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.step)?;
        match self.times {
            1 => Ok(()),
            n => write!(f, " x{n}"),
        }
    }
}

/// How many steps a trail keeps at each end (DESIGN.md §3.1).
const KEPT: usize = 16;
