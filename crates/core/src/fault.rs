//! What can be the error of a Deferred, and how it keeps its trail.
//!
//! Users' code: every method of [`Fault`] and of its trail. Core calls them under guards: in
//! `slot`, `report` and here.

use std::fmt;
use std::panic::Location;

use crate::failure::write_with_causes;
use crate::guarded::Guarded;
use crate::{Failure, Never};

/// A type that can be the error of a [`Deferred`](crate::Deferred).
///
/// It is implemented for [`Failure`], for [`Never`] and for every `std::error::Error + 'static`.
/// A type of one's own that is no `Error` implements it by hand:
///
/// ```
/// use thence_core::{Deferred, Ends, Fault, Step};
///
/// #[derive(Debug, PartialEq)]
/// struct Refused(u8);
///
/// impl Fault for Refused {
///     type Trail = Ends;
///     type Awaited<T> = Result<T, Self>;
///     fn passed(&mut self, trail: &mut Ends, step: Step) {
///         trail.push(step);
///     }
///     fn message(&self) -> String {
///         format!("refused with {}", self.0)
///     }
///     fn steps(&self, trail: &Ends) -> Vec<Step> {
///         trail.steps()
///     }
///     fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
///         result
///     }
/// }
///
/// let d: Deferred<u8, Refused> = Deferred::err(Refused(3));
/// d.recover(|refused| refused.0).done(|code| assert_eq!(code, 3));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a Deferred",
    label = "neither an error nor a `Fault`",
    note = "use `Failure`, which takes any error; or implement `std::error::Error` for `{Self}`, or \
            `thence::Fault`"
)]
pub trait Fault: Sized + 'static {
    /// Where the sites go that do not fit into the error itself; `()` where they do.
    type Trail: Clone + Default + 'static;

    /// What `.await` gives: `Result<T, Self>`, or plain `T` where there is no error to give.
    type Awaited<T>;

    /// The error passed this step, or came into being there.
    fn passed(&mut self, trail: &mut Self::Trail, step: Step);

    /// The text of a report.
    fn message(&self) -> String;

    /// The steps it passed, first to last, as far as they were kept.
    fn steps(&self, trail: &Self::Trail) -> Vec<Step>;

    /// What `.await` gives for a value or an error.
    fn awaited<T>(result: Result<T, Self>) -> Self::Awaited<T>;

    /// The error as a [`Failure`] with the same message and trail, for whoever takes any.
    ///
    /// The error itself stays inside only where it is a `Failure` already; to keep another,
    /// [`err_into`](crate::Deferred::err_into) makes a `Failure` of it.
    fn into_failure(self, trail: Self::Trail) -> Failure {
        let (error, trail) = (Guarded::new(self), Guarded::new(trail));
        let mut failure = Failure::msg(error.message());
        error.steps(&trail).into_iter().for_each(|step| failure.pass(step));
        failure
    }
}

impl Fault for Failure {
    type Trail = ();
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, (): &mut (), step: Step) {
        self.pass(step);
    }

    fn message(&self) -> String {
        format!("{self:#}")
    }

    fn steps(&self, (): &()) -> Vec<Step> {
        self.steps().collect()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }

    fn into_failure(self, (): ()) -> Self {
        self
    }
}

impl Fault for Never {
    type Trail = ();
    type Awaited<T> = T;

    fn passed(&mut self, (): &mut (), _: Step) {
        match *self {}
    }

    fn message(&self) -> String {
        match *self {}
    }

    fn steps(&self, (): &()) -> Vec<Step> {
        match *self {}
    }

    fn awaited<T>(result: Result<T, Self>) -> T {
        match result {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }
}

#[diagnostic::do_not_recommend]
impl<E: std::error::Error + 'static> Fault for E {
    type Trail = Ends;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, trail: &mut Ends, step: Step) {
        trail.push(step);
    }

    fn message(&self) -> String {
        let mut text = String::new();
        // A String takes everything.
        let _ = write_with_causes(&mut text, self);
        text
    }

    fn steps(&self, trail: &Ends) -> Vec<Step> {
        trail.steps()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

/// Says that a Deferred of this error cannot fail, so that `done` may be its end.
///
/// ```
/// use thence_core::{CannotFail, Deferred};
///
/// fn end<E: CannotFail>(d: Deferred<u8, E>) {
///     d.done(|n| assert_eq!(n, 1));
/// }
/// end(Deferred::<u8>::ok(1).recover(|_| 0));
/// ```
#[diagnostic::on_unimplemented(
    message = "this Deferred can still fail with `{Self}`, and `done` would let that go unseen",
    label = "`done` is for what cannot fail",
    note = "handle the error first: `.recover(|error| ..)` makes it a value, or end the chain with \
            `.report()` instead of `.done(..)`"
)]
pub trait CannotFail: Fault + sealed::Sealed {}

impl CannotFail for Never {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Never {}
}

/// One step of a trail: where it is written, and the label it was given.
///
/// ```
/// use thence_core::{Deferred, Failure};
///
/// let d = Deferred::<u8>::err(Failure::msg("closed")).map(|n| n).named("read");
/// d.inspect_err(|failure| {
///     let last = failure.steps().last().unwrap();
///     assert!(last.to_string().ends_with(" (read)"), "{last}"); // file:line:column (label)
/// })
/// .recover(|_| 0)
/// .done(drop);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// The file, line and column where the step is written.
    pub site: &'static Location<'static>,
    /// What `named` said, if anything.
    pub label: Option<&'static str>,
}

impl Step {
    /// Whether this is `earlier` again, with the label it was given afterwards.
    pub(crate) fn is_label_of(self, earlier: Self) -> bool {
        self.label.is_some() && earlier.label.is_none() && self.site == earlier.site
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.site)?;
        match self.label {
            Some(label) => write!(f, " ({label})"),
            None => Ok(()),
        }
    }
}

/// The first and the last step of a trail, for errors that have no room for one.
///
/// ```
/// use std::panic::Location;
/// use thence_core::{Ends, Step};
///
/// let mut ends = Ends::default();
/// for label in ["one", "two", "three"] {
///     ends.push(Step { site: Location::caller(), label: Some(label) });
/// }
/// let labels: Vec<_> = ends.steps().into_iter().filter_map(|step| step.label).collect();
/// assert_eq!(labels, ["one", "three"]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    first: Option<Step>,
    last: Option<Step>,
}

impl Ends {
    /// Adds the next step.
    ///
    /// ```
    /// # use std::panic::Location;
    /// # use thence_core::{Ends, Step};
    /// let mut ends = Ends::default();
    /// ends.push(Step { site: Location::caller(), label: Some("first") });
    /// assert_eq!(ends.steps().len(), 1);
    /// ```
    pub fn push(&mut self, step: Step) {
        match (self.first, self.last) {
            (Some(first), None) if !step.is_label_of(first) => self.last = Some(step),
            (_, None) => self.first = Some(step),
            _ => self.last = Some(step),
        }
    }

    /// The first step and, where there was more than one, the last.
    ///
    /// ```
    /// # use thence_core::Ends;
    /// assert!(Ends::default().steps().is_empty());
    /// ```
    pub fn steps(&self) -> Vec<Step> {
        self.first.into_iter().chain(self.last).collect()
    }
}
