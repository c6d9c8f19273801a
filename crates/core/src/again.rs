//! Doing it again: retries, and loops over what finishes later.
//!
//! Users' code: a loop's closures run as callbacks, and are asked about what is in no cell;
//! values, errors and the closures are dropped under guards.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use crate::fault::{Fault, Step};
use crate::guarded::Guarded;
use crate::node::{Next, Passing, Site, Work};
use crate::outcome::{Never, Outcome, Stop, lane};
use crate::slot::Slot;
use crate::steps::{AndThen, Arrive};
use crate::{Deferred, IntoDeferred};

/// Tries `work` up to `attempts` times, until it gives a value.
///
/// `work` and `delay` are told which attempt it is, from 1; `delay` is what is waited for after
/// that one failed. The last error is the end, and its trail says how often it was tried: `at
/// app.rs:7:5 x3`. The errors before it are dropped.
///
/// A Stop (cancelled, panicked, lost) is never retried. A request to end reaches the attempt or
/// the delay that is pending, and no further attempt is made: what the attempt ends with is the
/// end. Leaving is no request: the retries go on.
///
/// `after` and `backoff` of the reactor are delays.
///
/// ```
/// use thence_core::{Deferred, Failure, retry};
///
/// let d = retry(3, |_| Deferred::ok(()), |attempt| match attempt {
///     1 => Err(Failure::msg("busy")),
///     _ => Ok(attempt),
/// });
/// d.inspect(|attempt| assert_eq!(*attempt, 2)).report();
/// ```
///
/// # Panics
///
/// With zero attempts, which could never end.
#[track_caller]
pub fn retry<D: IntoDeferred>(
    attempts: u32,
    delay: impl FnMut(u32) -> Deferred<(), Never> + 'static,
    work: impl FnMut(u32) -> D + 'static,
) -> Deferred<D::Value, D::Error> {
    retry_if(attempts, delay, |_| true, work)
}

/// As [`retry`], for those errors only of which `is_worth_it` says so; another is the end.
///
/// ```
/// use thence_core::{Deferred, Failure, retry_if};
///
/// let is_busy = |failure: &Failure| failure.to_string() == "busy";
/// let d: Deferred<u8> = retry_if(
///     5,
///     |_| Deferred::ok(()),
///     is_busy,
///     |attempt| Err(Failure::msg(if attempt < 3 { "busy" } else { "no such file" })),
/// );
/// d.recover(|failure| {
///     assert_eq!(failure.to_string(), "no such file");
///     0
/// })
/// .done(drop);
/// ```
///
/// # Panics
///
/// As [`retry`].
#[track_caller]
pub fn retry_if<D: IntoDeferred>(
    attempts: u32,
    delay: impl FnMut(u32) -> Deferred<(), Never> + 'static,
    is_worth_it: impl FnMut(&D::Error) -> bool + 'static,
    work: impl FnMut(u32) -> D + 'static,
) -> Deferred<D::Value, D::Error> {
    assert!(attempts > 0, "`retry` with zero attempts would never try");
    again(|rounds| {
        let (delay, is_worth_it, work) =
            (Guarded::new(delay), Guarded::new(is_worth_it), Guarded::new(work));
        let retry = Retry { attempts, delay, is_worth_it, work, rounds };
        begin(retry.rounds.site, move || retry.attempt(1))
    })
}

/// Does `work` again and again until `done` says so of its value, which is the end. The values
/// before it are dropped; an error or a Stop is the end.
///
/// Each round is a callback of its own, so a loop that never waits still lets everything else run.
/// A request to end reaches the round that is pending, and no further one begins. Leaving is no
/// request: the loop goes on. What should wait between two rounds waits in `work`.
///
/// ```
/// use thence_core::{Deferred, Failure, repeat_until};
///
/// let mut pages = ["a", "b", ""].into_iter();
/// let read = move || Ok::<_, Failure>(pages.next().unwrap());
/// repeat_until(read, |page| page.is_empty()).report();
/// ```
#[doc(alias = "loop_fn")]
#[track_caller]
pub fn repeat_until<D: IntoDeferred>(
    work: impl FnMut() -> D + 'static,
    done: impl FnMut(&D::Value) -> bool + 'static,
) -> Deferred<D::Value, D::Error> {
    again(|rounds| {
        let (work, done) = (Guarded::new(work), Guarded::new(done));
        let repeat = Repeat { work, done, rounds };
        begin(repeat.rounds.site, move || repeat.round())
    })
}

/// What the rounds share with what waits for them.
struct Rounds<E: Fault> {
    site: Site,
    /// Somebody asked for the end: no further round begins.
    asked: Cell<bool>,
    begun: Cell<u32>,
    /// The error that is the end. It goes past the rounds, so that these leave no trail.
    failed: RefCell<Option<(E, E::Trail)>>,
}

impl<E: Fault> Rounds<E> {
    fn begin(&self) -> Site {
        self.begun.set(self.begun.get().saturating_add(1));
        self.site
    }

    /// Ends the rounds with an error.
    fn fail<T>(&self, error: E, trail: E::Trail) -> Slot<T, Never> {
        self.failed.replace(Some((error, trail)));
        Slot::Stop(Stop::Cancelled)
    }

    /// The end of all, from that of the last round.
    fn end<T>(&self, last: Slot<T, Never>) -> Slot<T, E> {
        if let Some((error, trail)) = self.failed.take() {
            let mut slot = Slot::Err(error, trail);
            // Whoever waits adds the last.
            let step = Step { site: self.site, label: None };
            (1..self.begun.get()).for_each(|_| slot.passed(step));
            return slot;
        }
        last.without_error()
    }
}

struct Retry<F, G, H, E: Fault> {
    attempts: u32,
    delay: Guarded<F>,
    is_worth_it: Guarded<G>,
    work: Guarded<H>,
    rounds: Rc<Rounds<E>>,
}

impl<T, E, D, F, G, H> Retry<F, G, H, E>
where
    T: 'static,
    E: Fault,
    D: IntoDeferred<Value = T, Error = E>,
    F: FnMut(u32) -> Deferred<(), Never> + 'static,
    G: FnMut(&E) -> bool + 'static,
    H: FnMut(u32) -> D + 'static,
{
    fn attempt(mut self, n: u32) -> Deferred<T, Never> {
        if self.rounds.asked.get() {
            return Deferred::ended(Outcome::Stop(Stop::Cancelled));
        }
        let site = self.rounds.begin();
        let attempt = pending_or_ready((self.work)(n), site);
        attempt.step(Failed(move |error, trail| self.failed(n, error, trail)), site)
    }

    fn failed(mut self, n: u32, error: E, trail: E::Trail) -> Next<T, Never> {
        let Rounds { site, asked, .. } = &*self.rounds;
        let site = *site;
        let (error, trail) = (Guarded::new(error), Guarded::new(trail));
        if n >= self.attempts || asked.get() || !(self.is_worth_it)(&error) {
            return Next::Done(self.rounds.fail(error.into_inner(), trail.into_inner()));
        }
        drop(error);
        drop(trail);
        let delay = (self.delay)(n);
        Next::Wait(delay.step(AndThen(move |()| self.attempt(n + 1)), site))
    }
}

struct Repeat<F, G, E: Fault> {
    work: Guarded<F>,
    done: Guarded<G>,
    rounds: Rc<Rounds<E>>,
}

impl<T, E, D, F, G> Repeat<F, G, E>
where
    T: 'static,
    E: Fault,
    D: IntoDeferred<Value = T, Error = E>,
    F: FnMut() -> D + 'static,
    G: FnMut(&T) -> bool + 'static,
{
    fn round(mut self) -> Deferred<T, Never> {
        if self.rounds.asked.get() {
            return Deferred::ended(Outcome::Stop(Stop::Cancelled));
        }
        let site = self.rounds.begin();
        let round = pending_or_ready((self.work)(), site);
        let rounds = self.rounds.clone();
        round.step(Came(move |value| self.came(value), rounds), site)
    }

    fn came(mut self, value: T) -> Next<T, Never> {
        let value = Guarded::new(value);
        if (self.done)(&value) {
            return Next::Done(Slot::Ok(value.into_inner()));
        }
        drop(value);
        Next::Wait(begin(self.rounds.site, move || self.round()))
    }
}

/// What an attempt does with how its work ended: an error goes to the callback.
struct Failed<F>(F);

impl<T: 'static, E: Fault, F> Work<T, E> for Failed<F>
where
    F: FnOnce(E, E::Trail) -> Next<T, Never> + 'static,
{
    type Value = T;
    type Error = Never;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, Never> {
        match slot {
            Slot::Err(error, trail) => (self.0)(error, trail),
            slot => Next::Done(slot.without_error()),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<T, Never> {
        from.keep_way_back::<T>();
        slot.without_error()
    }
}

/// What a round does with how its work ended: a value goes to the callback.
struct Came<F, E: Fault>(F, Rc<Rounds<E>>);

impl<T: 'static, E: Fault, F> Work<T, E> for Came<F, E>
where
    F: FnOnce(T) -> Next<T, Never> + 'static,
{
    type Value = T;
    type Error = Never;
    const LANES: u8 = lane::OK;
    const KEEPS_WAY_BACK: bool = true;

    fn call(mut self, slot: Slot<T, E>) -> Next<T, Never> {
        match slot {
            Slot::Ok(value) => (self.0)(value),
            slot => Next::Done(self.pass(slot, Passing::READY)),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<T, Never> {
        match slot {
            Slot::Err(error, trail) => self.1.fail(error, trail),
            Slot::Stop(stop) => Slot::Stop(stop),
            Slot::Ok(_) => unreachable!("a value goes to the callback"),
        }
    }
}

/// Waits for the rounds that `start` begins. Each is the Deferred that the one before returned, so
/// they run in constant stack and memory.
#[track_caller]
fn again<T: 'static, E: Fault>(
    start: impl FnOnce(Rc<Rounds<E>>) -> Deferred<T, Never>,
) -> Deferred<T, E> {
    let site = Location::caller();
    let rounds = Rc::new(Rounds {
        site,
        asked: Cell::new(false),
        begun: Cell::new(0),
        failed: RefCell::default(),
    });
    let all = start(rounds.clone());
    let (trigger, result) = Deferred::with_error();
    let canceller = all.canceller();
    let asked = rounds.clone();
    trigger.on_cancel(move || {
        asked.asked.set(true);
        canceller.cancel();
    });
    let arrive = Arrive::new(move |slot: Slot<T, Never>, from: Passing<'_>| {
        if let Some(way_back) = from.way_back() {
            trigger.on_unclaimed(way_back);
        }
        trigger.settle_slot(rounds.end(slot));
        Slot::<(), Never>::Ok(())
    });
    drop(all.step(arrive, site));
    result
}

/// A round as a callback of its own.
fn begin<T: 'static>(
    site: Site,
    round: impl FnOnce() -> Deferred<T, Never> + 'static,
) -> Deferred<T, Never> {
    Deferred::<(), Never>::ok(()).step(AndThen(move |()| round()), site)
}

/// What a round waits for, with nothing of the round on its trail.
fn pending_or_ready<D: IntoDeferred>(d: D, site: Site) -> Deferred<D::Value, D::Error> {
    match d.into_next() {
        Next::Done(slot) => Deferred::ready(slot, site),
        Next::Wait(deferred) => deferred,
    }
}
