//! The receiving end of something that finishes later.
//!
//! Users' code: steps on what has ended run as callbacks; `Fault::passed`, and the drops of an
//! outcome or a closure, run under guards, and what they set off before the call returns.

use std::fmt;

use crate::fault::{CannotFail, Fault, Step};
use crate::node::{self, CancelRef, Handle, Next, Passing, Site, Source, Work, cx, here};
use crate::outcome::{Never, Outcome, Stop};
use crate::slot::Slot;
use crate::{Failure, Trigger};

/// The receiving end of something that finishes later.
///
/// It ends exactly once, in a value, an error or an explicit [`Stop`]. What you attach consumes
/// it and gives a new one. Dropping it only stops waiting: the work goes on, and an error that
/// then nobody handles goes to the failure hook.
///
/// ```
/// use thence_core::Deferred;
///
/// let (trigger, d) = Deferred::<i32>::new();
/// let shown = d.map(|n| n * 2).map(|n| n * 3).map(|n| format!("All done! Value is {n}"));
/// trigger.fire(1); // outside any callback: everything it sets off has run when it returns
/// shown.inspect(|text| assert_eq!(text, "All done! Value is 6")).report();
/// ```
#[must_use = "dropping a Deferred stops waiting for it: attach a step, `.await` it, or end it with \
              `.done(..)` or `.report()`"]
pub struct Deferred<T: 'static, E: Fault = Failure>(Inner<T, E>); // Stays on its thread: send `trigger.remote()`.

/// Either a node, or an outcome that never needed one.
pub(crate) enum Inner<T: 'static, E: Fault> {
    Ready(Ready<T, E>),
    Node(Handle<T, E>),
}

/// An outcome that is there already.
pub(crate) struct Ready<T: 'static, E: Fault> {
    /// `None` once it was taken.
    slot: Option<Slot<T, E>>,
    site: Site,
}

impl<T: 'static, E: Fault> Ready<T, E> {
    #[inline]
    pub(crate) fn into_slot(mut self) -> Slot<T, E> {
        let slot = self.slot.take();
        // Nothing is left to drop; saying so keeps the empty drop out of every ready step.
        std::mem::forget(self);
        slot.expect("a ready outcome is taken once, by value")
    }
}

impl<T: 'static, E: Fault> Drop for Ready<T, E> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take()
            && (std::mem::needs_drop::<T>() || !slot.is_ok())
        {
            node::discard(slot, self.site);
        }
    }
}

impl<T: 'static> Deferred<T, Failure> {
    /// A trigger, and the Deferred that it fires.
    ///
    /// The error is a [`Failure`]; see [`Deferred::infallible`] and [`Deferred::with_error`] for
    /// others.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let (trigger, answer) = Deferred::<u8>::new();
    /// answer.inspect(|n| assert_eq!(*n, 42)).report();
    /// trigger.fire(42);
    ///
    /// let (trigger, answer) = Deferred::<u8>::new();
    /// answer.inspect_err(|failure| println!("{failure}")).recover(|_| 0).done(drop);
    /// trigger.fail(Failure::msg("nobody knows"));
    /// ```
    #[doc(alias = "oneshot")]
    #[track_caller]
    pub fn new() -> (Trigger<T>, Self) {
        Self::with_error()
    }
}

impl<T: 'static> Deferred<T, Never> {
    /// A trigger that cannot fail, and its Deferred, whose `.await` gives plain `T`.
    ///
    /// ```
    /// use thence_core::{Deferred, flow};
    ///
    /// let (trigger, go) = Deferred::infallible();
    /// let d = flow(async move {
    ///     let n: u8 = go.await; // no `?`: it cannot fail
    ///     Ok(n + 1)
    /// });
    /// trigger.fire(1);
    /// d.inspect(|n| assert_eq!(*n, 2)).report();
    /// ```
    #[track_caller]
    pub fn infallible() -> (Trigger<T, Never>, Self) {
        Self::with_error()
    }
}

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// A trigger and its Deferred, with any error type.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8, ParseIntError>::with_error();
    /// trigger.settle("256".parse().into());
    /// d.recover(|error| error.to_string().len() as u8).done(|n| assert!(n > 0));
    /// ```
    #[track_caller]
    #[inline]
    pub fn with_error() -> (Trigger<T, E>, Self) {
        let (source, handle) = Source::new(here());
        (Trigger::new(source), Self::of_handle(handle))
    }

    #[inline]
    pub(crate) fn of_handle(handle: Handle<T, E>) -> Self {
        Self(Inner::Node(handle))
    }

    /// One that has ended with a value.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// fn cached(known: Option<u8>) -> Deferred<u8> {
    ///     match known {
    ///         Some(n) => Deferred::ok(n),
    ///         None => from_disk(),
    ///     }
    /// }
    /// # fn from_disk() -> Deferred<u8> { Deferred::ok(0) }
    /// let d = cached(Some(7)).map(|n| n + 1); // has run already
    /// assert!(d.is_ready());
    /// d.inspect(|n| assert_eq!(*n, 8)).report();
    /// ```
    #[doc(alias = "succeed")]
    #[doc(alias = "ready")]
    #[track_caller]
    #[inline]
    pub fn ok(value: T) -> Self {
        Self::ready(Slot::Ok(value), here())
    }

    /// One that has ended with an error.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d = Deferred::<u8>::err(Failure::msg("closed"));
    /// d.recover(|failure| failure.to_string().len() as u8).done(|n| assert_eq!(n, 6));
    /// ```
    #[doc(alias = "fail")]
    #[track_caller]
    pub fn err(error: E) -> Self {
        Self::ended(Outcome::Err(error))
    }

    /// One that has ended with this outcome.
    ///
    /// ```
    /// use thence_core::{Deferred, Outcome, Stop};
    ///
    /// let d = Deferred::<u8>::ended(Outcome::Stop(Stop::Cancelled));
    /// d.settled().done(|outcome| assert!(outcome.is_cancelled()));
    /// ```
    #[track_caller]
    pub fn ended(outcome: Outcome<T, E>) -> Self {
        let site = here();
        let mut slot = Slot::from(outcome);
        tell_step(&mut slot, Step { site, label: None });
        Self::ready(slot, site)
    }

    /// Runs `f` and gives what it gives; a panic becomes a Stop.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, Outcome};
    ///
    /// fn port(text: &str) -> Result<u16, Failure> {
    ///     assert!(!text.is_empty(), "no text");
    ///     Ok(text.parse()?)
    /// }
    /// let d = Deferred::attempt(|| port("80"));
    /// d.inspect(|port| assert_eq!(*port, 80)).report();
    ///
    /// let d = Deferred::attempt(|| port(""));
    /// d.settled().done(|outcome| assert!(matches!(outcome, Outcome::Stop(_)))); // it panicked
    /// ```
    #[doc(alias = "maybeDeferred")]
    #[doc(alias = "execute")]
    #[track_caller]
    pub fn attempt<D>(f: impl FnOnce() -> D + 'static) -> Self
    where
        D: IntoDeferred<Value = T, Error = E>,
    {
        Deferred::<(), E>::ok(()).step(crate::steps::AndThen(move |()| f()), here())
    }

    /// Turns a callback into a Deferred: `f` gets the trigger, to fire when it is done.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// fn exec(on_finished: impl FnOnce(i32)) {
    ///     on_finished(5);
    /// }
    /// let d: Deferred<i32> = Deferred::from_callback(|trigger| exec(|n| trigger.fire(n)));
    /// d.inspect(|n| assert_eq!(*n, 5)).report();
    /// ```
    #[track_caller]
    pub fn from_callback(f: impl FnOnce(Trigger<T, E>)) -> Self {
        let (trigger, deferred) = Self::with_error();
        f(trigger);
        deferred
    }

    /// Runs a future to its end on this thread, as [`flow`](crate::flow()) does, with any error.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use thence_core::Deferred;
    ///
    /// let d: Deferred<u8, ParseIntError> = Deferred::from_future(async { "7".parse() });
    /// d.recover(|_| 0).done(|n| assert_eq!(n, 7));
    /// ```
    #[track_caller]
    pub fn from_future(future: impl Future<Output = Result<T, E>> + 'static) -> Self {
        Self::from_future_at(future, here())
    }

    pub(crate) fn from_future_at(
        future: impl Future<Output = Result<T, E>> + 'static,
        site: Site,
    ) -> Self {
        Self(Inner::Node(node::spawn(future, site)))
    }

    /// Whether it has ended, so that a step attached now has its input.
    ///
    /// ```
    /// use thence_core::Deferred;
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// assert!(!d.is_ready());
    /// trigger.fire(1);
    /// assert!(d.is_ready());
    /// # d.report();
    /// ```
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            Inner::Ready(_) => true,
            Inner::Node(handle) => handle.is_done(),
        }
    }

    /// Asks whatever is pending now to end. It still ends exactly once: with a value or an error
    /// of its own if it was too late, else with `Stop(Cancelled)`.
    ///
    /// ```
    /// use thence_core::{Deferred, Outcome};
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// d.cancel();
    /// assert!(trigger.is_cancelled());
    /// d.settled().done(|outcome| assert!(outcome.is_cancelled()));
    /// ```
    pub fn cancel(&self) {
        if let Inner::Node(handle) = &self.0 {
            handle.request();
        }
    }

    /// Something that can ask for the end later, when the Deferred has gone elsewhere. It keeps
    /// neither the value nor the work alive, and does nothing once this has ended.
    ///
    /// ```
    /// use thence_core::{Deferred, flow};
    ///
    /// let (trigger, slow) = Deferred::<u8>::new();
    /// let canceller = slow.canceller();
    /// flow(async move { slow.await }).report(); // it has gone elsewhere
    /// canceller.cancel();
    /// assert!(trigger.is_cancelled());
    /// ```
    pub fn canceller(&self) -> Canceller {
        Canceller(match &self.0 {
            Inner::Ready(_) => None,
            Inner::Node(handle) => Some(handle.canceller()),
        })
    }

    /// Gives the step before it a label for trails.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d = Deferred::<&str>::ok("x").and_then(|text| Ok(text.parse::<u8>()?)).named("parse");
    /// d.inspect_err(|failure| {
    ///     assert_eq!(failure.steps().next().unwrap().label, Some("parse"));
    /// })
    /// .recover(|_| 0)
    /// .done(drop);
    /// ```
    pub fn named(self, label: &'static str) -> Self {
        match self.0 {
            Inner::Node(handle) => {
                handle.set_label(label);
                Self(Inner::Node(handle))
            }
            Inner::Ready(ready) => {
                let site = ready.site;
                let mut slot = ready.into_slot();
                tell_step(&mut slot, Step { site, label: Some(label) });
                Self::ready(slot, site)
            }
        }
    }

    /// Ends a chain that cannot fail.
    ///
    /// ```compile_fail,E0277
    /// # use thence_core::Deferred;
    /// let d: Deferred<i32> = Deferred::ok(1);
    /// d.done(|n| println!("{n}")); // can still fail with `Failure`
    /// ```
    #[track_caller]
    pub fn done<M>(self, f: impl FnOnce(T) + 'static)
    where
        E: CannotFail,
        Self: End<M>, // For a Deferred in a Deferred: call `flatten()` first.
    {
        drop(self.step(crate::steps::Map(f), here()));
    }

    /// Ends a chain: a value is dropped, and what is unhandled goes to the failure hook with this
    /// site as its last.
    ///
    /// A Deferred in a Deferred is refused here and by [`Deferred::done`]: what the inner one fails
    /// with would go unseen.
    ///
    /// ```compile_fail,E0283
    /// # use thence_core::Deferred;
    /// let nest: Deferred<Deferred<i32>> = Deferred::ok(Deferred::ok(1));
    /// nest.report(); // call `flatten()` first
    /// ```
    #[doc(alias = "detach")]
    #[doc(alias = "forget")]
    #[track_caller]
    pub fn report<M>(self)
    where
        Self: End<M>, // For a Deferred in a Deferred: call `flatten()` first.
    {
        drop(self.step(crate::steps::Report, here()));
    }

    pub(crate) fn ready(slot: Slot<T, E>, site: Site) -> Self {
        Self(Inner::Ready(Ready { slot: Some(slot), site }))
    }

    pub(crate) fn of_next(next: Next<T, E>, site: Site) -> Self {
        match next {
            Next::Done(mut slot) => {
                tell_step(&mut slot, Step { site, label: None });
                Self::ready(slot, site)
            }
            Next::Wait(deferred) => deferred,
        }
    }

    #[inline]
    pub(crate) fn into_inner(self) -> Inner<T, E> {
        self.0
    }

    pub(crate) fn handle(&self) -> Option<&Handle<T, E>> {
        match &self.0 {
            Inner::Ready(_) => None,
            Inner::Node(handle) => Some(handle),
        }
    }

    /// Attaches a step.
    #[inline]
    pub(crate) fn step<W: Work<T, E>>(self, work: W, site: Site) -> Deferred<W::Value, W::Error> {
        let slot = match self.0 {
            Inner::Node(handle) if !handle.is_done() => {
                return Deferred(Inner::Node(handle.attach(cx(), work, site)));
            }
            Inner::Node(handle) if handle.has_way_back() || cx().is_handing() => {
                return Deferred(Inner::Node(handle.attach(cx(), work, site)));
            }
            Inner::Node(handle) => match handle.take_done() {
                Ok(slot) => slot,
                Err(handle) => return Deferred(Inner::Node(handle.attach(cx(), work, site))),
            },
            Inner::Ready(ready) => ready.into_slot(),
        };
        if W::GIVES_OUTCOME && !slot.is_ok() {
            // Only a node can tell of it, should nobody take it.
            return step_on_node(slot, work, site);
        }
        step_on_ready(slot, work, site)
    }
}

/// A step on an outcome that is there: at once outside any callback, and otherwise in its turn.
#[inline]
fn step_on_ready<W: Work<T, E>, T: 'static, E: Fault>(
    slot: Slot<T, E>,
    mut work: W,
    site: Site,
) -> Deferred<W::Value, W::Error> {
    let step = Step { site, label: None };
    let cx = cx();
    if W::LANES & slot.lane() == 0 {
        if cx.is_handing() {
            // Only a node can wait its turn.
            return step_on_node(slot, work, site);
        }
        if slot.is_ok() && !std::mem::needs_drop::<W>() && !std::mem::needs_drop::<T>() {
            return Deferred::ready(work.pass(slot, Passing::READY), site);
        }
        // As a step that waited would: what its closure and its error do is done before anything
        // that it sets off.
        let slot = cx.while_handing(|| {
            let mut slot = work.pass(slot, Passing::READY);
            if std::mem::needs_drop::<W>() {
                node::run_guarded(|| drop(work));
            }
            slot.passed(step);
            slot
        });
        return Deferred::ready(slot, site);
    }
    if !cx.is_free() {
        let handle = Handle::queue(cx, slot, work, site);
        cx.settle();
        return Deferred(Inner::Node(handle));
    }
    // A value goes in and comes out in parts; see `Ending::put`.
    let ran = match slot {
        Slot::Ok(value) => cx.run_now(site, || {
            let next = work.call(Slot::Ok(value));
            if has_failed(&next) { told_of(next, step) } else { next }
        }),
        slot => cx.run_now(site, || told_of(work.call(slot), step)),
    };
    match ran {
        Ok(Next::Done(Slot::Ok(value))) => Deferred::ready(Slot::Ok(value), site),
        Ok(Next::Done(slot)) => Deferred::ready(slot, site),
        Ok(Next::Wait(inner)) => inner,
        Err(panic) => Deferred::ready(Slot::Stop(Stop::Panicked(panic)), site),
    }
}

/// A step on an outcome that was there, on a node of its own.
#[cold]
fn step_on_node<W: Work<T, E>, T: 'static, E: Fault>(
    slot: Slot<T, E>,
    work: W,
    site: Site,
) -> Deferred<W::Value, W::Error> {
    let ended = Handle::ended(cx(), slot, site);
    Deferred(Inner::Node(ended.attach(cx(), work, site)))
}

#[inline]
fn has_failed<T: 'static, E: Fault>(next: &Next<T, E>) -> bool {
    match next {
        Next::Done(slot) => matches!(slot, Slot::Err(..)),
        Next::Wait(Deferred(Inner::Node(handle))) => handle.has_failed(),
        Next::Wait(_) => false,
    }
}

/// Tells an error of the step that gave it, before anything runs that its callback set off.
#[cold]
fn told_of<T: 'static, E: Fault>(next: Next<T, E>, step: Step) -> Next<T, E> {
    let mut slot = match next {
        Next::Done(slot @ Slot::Err(..)) => slot,
        Next::Wait(Deferred(Inner::Node(handle))) if handle.has_failed() => {
            match handle.take_done() {
                Ok(slot) => slot,
                Err(handle) => return Next::Wait(Deferred(Inner::Node(handle))),
            }
        }
        next => return next,
    };
    slot.passed(step);
    Next::Done(slot)
}

/// Tells an error of a step, and runs what that set off.
fn tell_step<T, E: Fault>(slot: &mut Slot<T, E>, step: Step) {
    if let Slot::Err(..) = slot {
        cx().enter(|| slot.passed(step));
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Deferred<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl<T: 'static, E: Fault> From<Result<T, E>> for Deferred<T, E> {
    #[track_caller]
    fn from(result: Result<T, E>) -> Self {
        Self::ended(result.into())
    }
}

/// Can ask a Deferred to end, from anywhere on its thread. Outlives it.
///
/// ```
/// use thence_core::{Canceller, Deferred};
///
/// struct Job {
///     canceller: Canceller,
/// }
///
/// let (trigger, d) = Deferred::<u8>::new();
/// let job = Job { canceller: d.canceller() };
/// trigger.fire(1);
/// job.canceller.cancel(); // it has ended: nothing happens
/// d.inspect(|n| assert_eq!(*n, 1)).report();
/// ```
#[derive(Clone)]
pub struct Canceller(Option<CancelRef>);

impl Canceller {
    /// Asks; does nothing once it has ended.
    ///
    /// ```
    /// use thence_core::{Canceller, Deferred};
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let canceller = d.map(|n| n + 1).canceller();
    /// canceller.cancel();
    /// canceller.cancel(); // does nothing
    /// # drop(trigger);
    /// ```
    pub fn cancel(&self) {
        if let Some(node) = &self.0 {
            node.request();
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

/// What the closures of `and_then`, `or_else`, `then` and `branch` may return: a `Result` or a
/// [`Deferred`], and nothing else.
///
/// ```
/// use thence_core::{Deferred, Failure, IntoDeferred, Never};
///
/// /// A function of one's own may take what the steps take.
/// fn or_zero<D>(f: impl FnOnce() -> D + 'static) -> Deferred<u8, Never>
/// where
///     D: IntoDeferred<Value = u8, Error = Failure>,
/// {
///     Deferred::attempt(f).recover(|_| 0)
/// }
/// or_zero(|| Err(Failure::msg("no"))).done(|n| assert_eq!(n, 0));
/// or_zero(|| Deferred::ok(4)).done(|n| assert_eq!(n, 4));
/// ```
#[diagnostic::on_unimplemented(
    message = "the closure of this step returns a `Result` or a `Deferred`, not `{Self}`",
    label = "its closure returns neither",
    note = "for a plain value use `map` instead of `and_then` and `recover` instead of `or_else`, or \
            return `Ok(value)`"
)]
pub trait IntoDeferred: sealed::IntoNext<Self::Value, Self::Error> {
    /// The value it ends with.
    type Value: 'static;
    /// The error it can end with.
    type Error: Fault;
}

pub(crate) mod sealed {
    use super::{Deferred, Fault, Inner, Next};

    #[diagnostic::on_unimplemented(
        message = "only a `Result` and a `Deferred` are what a step may go on with",
        note = "give `{Self}` a method that returns a `Deferred`, and call it in the closure"
    )]
    pub trait IntoNext<T: 'static, E: Fault> {
        /// Without a detour through a handle where the outcome is there.
        fn into_next(self) -> Next<T, E>;
    }

    impl<T: 'static, E: Fault> IntoNext<T, E> for Result<T, E> {
        #[inline]
        fn into_next(self) -> Next<T, E> {
            Next::Done(self.into())
        }
    }

    impl<T: 'static, E: Fault> IntoNext<T, E> for Deferred<T, E> {
        #[inline]
        fn into_next(self) -> Next<T, E> {
            match self.0 {
                Inner::Ready(ready) => Next::Done(ready.into_slot()),
                Inner::Node(handle) => Next::Wait(Deferred(Inner::Node(handle))),
            }
        }
    }
}

impl<T: 'static, E: Fault> IntoDeferred for Result<T, E> {
    type Value = T;
    type Error = E;
}

impl<T: 'static, E: Fault> IntoDeferred for Deferred<T, E> {
    type Value = T;
    type Error = E;
}

/// What `done` and `report` may end: every Deferred but a nested one, whose inner failure would
/// go unseen. The compiler names [`CallFlattenFirst`] when it refuses a nest.
///
/// ```
/// use thence_core::{Deferred, Failure};
///
/// let nest: Deferred<Deferred<u8>> = Deferred::ok(Deferred::ok(1));
/// nest.flatten().report(); // without `flatten()` it does not compile
/// ```
pub trait End<M> {}

impl<T: 'static, E: Fault> End<()> for Deferred<T, E> {}

/// Makes `End` ambiguous, and so unusable, for a Deferred in a Deferred: call `flatten()` first.
///
/// ```
/// # use thence_core::Deferred;
/// let nest: Deferred<Deferred<u8>> = Deferred::ok(Deferred::ok(1));
/// nest.flatten().report();
/// ```
#[derive(Debug)]
pub enum CallFlattenFirst {}

impl<T: 'static, E: Fault, F: Fault> End<CallFlattenFirst> for Deferred<Deferred<T, E>, F> {}
