//! Waiting for many.
//!
//! Each of these ends when all of its inputs have ended: losers are asked to end and waited for,
//! so nothing outlives it (DESIGN.md §3.1). A loser's value goes back where it came from when its
//! source is a stream of things; a loser's failure that nobody asked about is reported.
//!
//! Users' code: the iterator of inputs runs before anything waits; what arrives is kept, and told,
//! dropped or given back under guards, which is why the gathering may be borrowed over it.

use std::cell::RefCell;
use std::fmt;
use std::mem::{needs_drop, take};
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::Canceller;
use crate::fault::{Fault, Step};
use crate::guarded::{Guarded, let_go};
use crate::node::{Passing, Site, tell};
use crate::outcome::{Never, Outcome, Stop};
use crate::report::message_of;
use crate::slot::Slot;
use crate::steps::Arrive;
use crate::{Deferred, Failure, Trigger};

/// Every value, in the order of the inputs. The first error or Stop asks the rest to end, and is
/// its end.
///
/// ```
/// use thence_core::{Deferred, all};
///
/// let inputs = (1..=3).map(|n| Deferred::<i32>::ok(n));
/// all(inputs).inspect(|values| assert_eq!(values, &[1, 2, 3])).report();
/// ```
#[doc(alias = "gatherResults")]
#[doc(alias = "join_all")]
#[doc(alias = "try_join_all")]
#[track_caller]
pub fn all<T: 'static, E: Fault>(
    inputs: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<T>, E> {
    let inputs: Vec<_> = inputs.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::ok(Vec::new());
    }
    let site = Location::caller();
    let mut values: Vec<Option<Kept<T>>> = Vec::new();
    values.resize_with(inputs.len(), || None);
    let mut end: Option<Slot<Vec<T>, E>> = None;
    gather(inputs, site, move |arrival, members, trigger| match arrival {
        Arrival::One(index, slot, from) => match slot {
            Slot::Ok(value) => values[index] = Some(Kept::new(value, from)),
            slot if end.is_none() => {
                end = Some(slot.without_value());
                members.cancel();
            }
            slot => tell(slot, site),
        },
        Arrival::Last => {
            let Some(trigger) = trigger else { return };
            let kept = values.drain(..).flatten();
            if let Some(slot) = end.take() {
                kept.for_each(Kept::give_back);
                trigger.settle_slot(slot);
                return;
            }
            let (values, ways): (Vec<_>, Vec<_>) = kept.map(|kept| (kept.value, kept.way)).unzip();
            // Values that nobody takes go one by one: two destructors may panic.
            if needs_drop::<T>() || ways.iter().any(Option::is_some) {
                trigger.on_unclaimed(move |values: Vec<T>| {
                    let kept = values.into_iter().zip(ways);
                    kept.for_each(|(value, way)| Kept { value, way }.give_back());
                });
            }
            trigger.fire(values);
        }
    })
}

/// Every outcome, in the order of the inputs.
///
/// When it is left, values go back where they came from and failures are reported.
///
/// ```
/// use thence_core::{Deferred, Failure, all_settled};
///
/// let inputs = [Deferred::<u8>::ok(1), Deferred::err(Failure::msg("down"))];
/// all_settled(inputs).done(|outcomes| {
///     assert!(outcomes[0].is_ok());
///     assert!(outcomes[1].is_err());
/// });
/// ```
#[doc(alias = "DeferredList")]
#[track_caller]
pub fn all_settled<T: 'static, E: Fault>(
    inputs: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<Outcome<T, E>>, Never> {
    let site = Location::caller();
    let inputs: Vec<_> = inputs.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::ok(Vec::new());
    }
    let mut ends: Vec<Option<(Outcome<T, E>, Left<T, E>)>> = Vec::new();
    ends.resize_with(inputs.len(), || None);
    gather(inputs, site, move |arrival, _, trigger| match arrival {
        Arrival::One(index, slot, from) => {
            let trail = slot.trail().map(Guarded::new);
            let left = Left { trail, way: from.way_back().map(Guarded::new), site };
            ends[index] = Some((slot.into_outcome(), left));
        }
        Arrival::Last => {
            let Some(trigger) = trigger else { return };
            let (outcomes, left): (Vec<_>, Vec<_>) = ends.drain(..).flatten().unzip();
            trigger.on_unclaimed(move |outcomes: Vec<Outcome<T, E>>| {
                outcomes.into_iter().zip(left).for_each(|(outcome, left)| left.take(outcome));
            });
            trigger.fire(outcomes);
        }
    })
}

/// The first end of any kind; the others are asked to end. Of nothing: `Stop(Lost)`.
///
/// A loser that fails is reported.
///
/// ```
/// use thence_core::{Deferred, first};
///
/// let (slow, a) = Deferred::<&str>::new();
/// let (quick, b) = Deferred::<&str>::new();
/// let d = first([a, b]);
/// quick.fire("quick");
/// assert!(slow.is_cancelled());
/// d.inspect(|text| assert_eq!(*text, "quick")).report();
/// ```
#[doc(alias = "race")]
#[doc(alias = "select")]
#[track_caller]
pub fn first<T: 'static, E: Fault>(
    inputs: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<T, E> {
    let site = Location::caller();
    let inputs: Vec<_> = inputs.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::ended(Outcome::Stop(Stop::lost()));
    }
    let mut won: Option<Won<T, E>> = None;
    gather(inputs, site, move |arrival, members, trigger| match arrival {
        Arrival::One(_, slot, from) if won.is_none() => {
            won = Some(Won::new(slot, from));
            members.cancel();
        }
        Arrival::One(_, slot, from) => lose(slot, from, site),
        Arrival::Last => {
            if let (Some(won), Some(trigger)) = (won.take(), trigger) {
                won.settle(trigger);
            }
        }
    })
}

/// The first value; the others are asked to end. Fails with every error when none has one.
///
/// Of nothing, and when every input was stopped: the first Stop, or `Stop(Lost)`. A panic or a
/// lost trigger that is not its end is reported.
///
/// ```
/// use thence_core::{Deferred, Failure, first_ok};
///
/// let down = || Deferred::<u8>::err(Failure::msg("down"));
/// first_ok([down(), Deferred::ok(7)]).inspect(|n| assert_eq!(*n, 7)).report();
/// first_ok([down(), down()])
///     .inspect_err(|all| assert_eq!(all.to_string(), "none of 2 succeeded: down; down"))
///     .recover(|_| 0)
///     .done(drop);
/// ```
#[doc(alias = "any")]
#[doc(alias = "select_ok")]
#[track_caller]
pub fn first_ok<T: 'static, E: Fault>(
    inputs: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<T, AllFailed<E>> {
    let site = Location::caller();
    let inputs: Vec<_> = inputs.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::ended(Outcome::Stop(Stop::lost()));
    }
    let mut won: Option<Won<T, AllFailed<E>>> = None;
    let mut failed: Vec<(usize, E, E::Trail)> = Vec::new();
    let mut stopped = None;
    gather(inputs, site, move |arrival, members, trigger| match arrival {
        Arrival::One(index, slot, from) => match slot {
            Slot::Ok(value) if won.is_none() => {
                won = Some(Won::new(Slot::Ok(value), from));
                members.cancel();
            }
            Slot::Ok(value) => Kept::new(value, from).give_back(),
            Slot::Err(error, trail) => failed.push((index, error, trail)),
            Slot::Stop(stop) if won.is_none() && stopped.is_none() => stopped = Some(stop),
            slot => tell(slot, site),
        },
        Arrival::Last => {
            let Some(trigger) = trigger else { return };
            if won.is_some() || !failed.is_empty() {
                // It is not the end, so nobody else tells of it.
                if let Some(stop) = stopped.take() {
                    tell(Slot::<T, E>::Stop(stop), site);
                }
            }
            if let Some(won) = won.take() {
                // Whoever asks for the first value has no use for why others have none.
                drop(AllFailed(failed.drain(..).map(without_place).collect()));
                return won.settle(trigger);
            }
            if failed.is_empty() {
                let stop =
                    stopped.take().unwrap_or_else(|| Stop::lost_at(Step { site, label: None }));
                return trigger.settle(Outcome::Stop(stop));
            }
            failed.sort_by_key(|(index, ..)| *index);
            trigger.fail(AllFailed(failed.drain(..).map(without_place).collect()));
        }
    })
}

/// Every error of a [`first_ok`] that found no value, in the order of its inputs.
///
/// ```
/// use thence_core::{Deferred, Failure, first_ok};
///
/// let d = first_ok([Deferred::<u8>::err(Failure::msg("down"))]);
/// let d: Deferred<u8> = d.err_into(); // into a `Failure`
/// d.inspect_err(|failure| assert_eq!(failure.to_string(), "none of 1 succeeded: down"))
///     .recover(|_| 0)
///     .done(drop);
/// ```
pub struct AllFailed<E: Fault>(Vec<(E, E::Trail)>);

impl<E: Fault> AllFailed<E> {
    /// The errors.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, first_ok};
    /// let d = first_ok([Deferred::<u8>::err(Failure::msg("down"))]);
    /// d.recover(|all| all.errors().count() as u8).done(|n| assert_eq!(n, 1));
    /// ```
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        self.0.iter().map(|(error, _)| error)
    }

    /// The errors, by value.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, first_ok};
    /// let d = first_ok([Deferred::<u8>::err(Failure::msg("down"))]);
    /// d.map_err(|all| all.into_errors().remove(0))
    ///     .inspect_err(|failure| assert_eq!(failure.to_string(), "down"))
    ///     .recover(|_| 0)
    ///     .done(drop);
    /// ```
    pub fn into_errors(mut self) -> Vec<E> {
        let without_trail = |(error, trail)| {
            let_go(trail);
            error
        };
        take(&mut self.0).into_iter().map(without_trail).collect()
    }
}

impl<E: Fault> Drop for AllFailed<E> {
    fn drop(&mut self) {
        // One by one: two destructors may panic.
        for (error, trail) in take(&mut self.0) {
            let_go(error);
            let_go(trail);
        }
    }
}

impl<E: Fault> fmt::Display for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {} succeeded", self.0.len())?;
        for (n, error) in self.errors().enumerate() {
            // One that panics when it is asked does not hide what the others say.
            let message = message_of(error).unwrap_or_else(|instead| instead);
            write!(f, "{} {message}", if n == 0 { ':' } else { ';' })?;
        }
        Ok(())
    }
}

impl<E: Fault> fmt::Debug for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: Fault> Fault for AllFailed<E> {
    type Trail = crate::Ends;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, trail: &mut crate::Ends, step: Step) {
        trail.push(step);
    }

    fn message(&self) -> String {
        self.to_string()
    }

    fn steps(&self, trail: &crate::Ends) -> Vec<Step> {
        trail.steps()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

impl From<AllFailed<Self>> for Failure {
    fn from(all: AllFailed<Self>) -> Self {
        Self::msg(all)
    }
}

/// What a gathering is told.
pub(crate) enum Arrival<'a, T: 'static, E: Fault> {
    One(usize, Slot<T, E>, Passing<'a>),
    /// All have ended.
    Last,
}

pub(crate) struct Members(Vec<Canceller>);

impl Members {
    pub(crate) fn cancel(&self) {
        self.0.iter().for_each(Canceller::cancel);
    }
}

struct Gathering<F, U: 'static, G: Fault> {
    arrive: F,
    left: usize,
    trigger: Option<Trigger<U, G>>,
}

/// Tells `arrive` of every end as it comes, and once more when all have come.
pub(crate) fn gather<T, E, U, G, F>(
    inputs: Vec<Deferred<T, E>>,
    site: Site,
    arrive: F,
) -> Deferred<U, G>
where
    T: 'static,
    E: Fault,
    U: 'static,
    G: Fault,
    F: FnMut(Arrival<'_, T, E>, &Members, Option<Trigger<U, G>>) + 'static,
{
    let (trigger, result) = Deferred::with_error();
    let members = Rc::new(Members(inputs.iter().map(Deferred::canceller).collect()));
    // The trigger's own hook must not keep the members' memory alive longer than the members do.
    let asked = Rc::downgrade(&members);
    trigger.on_cancel(move || {
        if let Some(members) = asked.upgrade() {
            members.cancel();
        }
    });
    let left = inputs.len();
    let gathering = Rc::new(RefCell::new(Gathering { arrive, left, trigger: Some(trigger) }));
    let cx = crate::node::cx();
    cx.enter(|| {
        for (index, input) in inputs.into_iter().enumerate() {
            let (gathering, members) = (gathering.clone(), members.clone());
            let arrive = Arrive::new(move |slot, from| {
                arrived(&gathering, &members, index, slot, from);
                Slot::<(), Never>::Ok(())
            });
            // One by one, so that what has ended arrives in the order of the inputs.
            cx.while_handing(|| drop(input.step(arrive, site)));
        }
    });
    result
}

fn arrived<T, E, U, G, F>(
    gathering: &RefCell<Gathering<F, U, G>>,
    members: &Members,
    index: usize,
    slot: Slot<T, E>,
    from: Passing<'_>,
) where
    T: 'static,
    E: Fault,
    U: 'static,
    G: Fault,
    F: FnMut(Arrival<'_, T, E>, &Members, Option<Trigger<U, G>>),
{
    // A member that ends while another one is asked to waits in the list of what is handed on, so
    // this is never entered twice. Nor does it unwind: whatever `arrive` does with a member's
    // outcome, and what that sets off, is guarded.
    let mut gathering = gathering.borrow_mut();
    (gathering.arrive)(Arrival::One(index, slot, from), members, None);
    gathering.left -= 1;
    if gathering.left == 0 {
        let trigger = gathering.trigger.take();
        (gathering.arrive)(Arrival::Last, members, trigger);
    }
}

/// A value and its way back.
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) way: Option<Guarded<Box<dyn FnOnce(T)>>>,
}

impl<T: 'static> Kept<T> {
    pub(crate) fn new(value: T, from: Passing<'_>) -> Self {
        Self { value, way: from.way_back().map(Guarded::new) }
    }

    pub(crate) fn give_back(self) {
        let Self { value, way } = self;
        crate::node::run_guarded(|| match way {
            Some(way) => way.into_inner()(value),
            None => drop(value),
        });
    }
}

fn without_place<E: Fault>((_, error, trail): (usize, E, E::Trail)) -> (E, E::Trail) {
    (error, trail)
}

/// What becomes of an outcome that nobody looks at.
struct Left<T: 'static, E: Fault> {
    /// Of an error.
    trail: Option<Guarded<E::Trail>>,
    way: Option<Guarded<Box<dyn FnOnce(T)>>>,
    site: Site,
}

impl<T: 'static, E: Fault> Left<T, E> {
    fn take(self, outcome: Outcome<T, E>) {
        let slot = match (outcome, self.trail) {
            (Outcome::Ok(value), _) => return Kept { value, way: self.way }.give_back(),
            (Outcome::Err(error), Some(trail)) => Slot::Err(error, trail.into_inner()),
            (outcome, _) => outcome.into(),
        };
        tell(slot, self.site);
    }
}

struct Won<T: 'static, E: Fault> {
    slot: Slot<T, E>,
    way: Option<Guarded<Box<dyn FnOnce(T)>>>,
}

impl<T: 'static, E: Fault> Won<T, E> {
    fn new(slot: Slot<T, E>, from: Passing) -> Self {
        Self { slot, way: from.way_back().map(Guarded::new) }
    }

    fn settle(self, trigger: Trigger<T, E>) {
        if let Some(way) = self.way {
            trigger.on_unclaimed(way.into_inner());
        }
        trigger.settle_slot(self.slot);
    }
}

fn lose<T: 'static, E: Fault>(slot: Slot<T, E>, from: Passing<'_>, site: Site) {
    match slot {
        Slot::Ok(value) => Kept::new(value, from).give_back(),
        slot => tell(slot, site),
    }
}
