//! The steps: what can be attached to a Deferred.

use std::panic::Location;

use crate::deferred::sealed::IntoNext;
use crate::fault::Fault;
use crate::node::{Next, Passing, Slot, Work};
use crate::outcome::{Never, Outcome, lane};
use crate::{Deferred, IntoDeferred};

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Turns the value into another.
    #[doc(alias = "addCallback")]
    #[track_caller]
    #[inline]
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> U + 'static) -> Deferred<U, E> {
        self.step(Map(f), Location::caller())
    }

    /// Goes on with the value; `f` returns a `Result` or a Deferred of the same error, so that
    /// `?` inside needs no annotation.
    ///
    /// A Deferred that it returns takes its place: a loop of such steps runs in constant memory.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// fn factorial(acc: u64, n: u64) -> Deferred<u64> {
    ///     if n <= 1 {
    ///         return Deferred::ok(acc);
    ///     }
    ///     Deferred::ok(acc * n).and_then(move |acc| factorial(acc, n - 1))
    /// }
    /// factorial(1, 5).inspect(|n| assert_eq!(*n, 120)).report();
    /// ```
    #[doc(alias = "addCallback")]
    #[doc(alias = "chain")]
    #[track_caller]
    #[inline]
    pub fn and_then<D>(self, f: impl FnOnce(T) -> D + 'static) -> Deferred<D::Value, E>
    where
        D: IntoDeferred<Error = E>,
    {
        self.step(AndThen(f), Location::caller())
    }

    /// [`Deferred::and_then`] for a closure that uses `?` and returns a Deferred.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure};
    ///
    /// let d: Deferred<u16> = Deferred::ok("80").and_then_try(|text| {
    ///     let port: u16 = text.parse()?;
    ///     Ok(Deferred::ok(port))
    /// });
    /// d.inspect(|port| assert_eq!(*port, 80)).report();
    /// ```
    #[track_caller]
    pub fn and_then_try<U: 'static>(
        self,
        f: impl FnOnce(T) -> Result<Deferred<U, E>, E> + 'static,
    ) -> Deferred<U, E> {
        self.step(AndThenTry(f), Location::caller())
    }

    /// Turns the error into another.
    #[track_caller]
    pub fn map_err<F: Fault>(self, f: impl FnOnce(E) -> F + 'static) -> Deferred<T, F> {
        self.step(MapErr(f), Location::caller())
    }

    /// Turns the error into another by `From`, keeping the trail as far as the new one can.
    #[track_caller]
    pub fn err_into<F: Fault + From<E>>(self) -> Deferred<T, F> {
        self.step(MapErr(F::from), Location::caller())
    }

    /// Goes on with the error; `f` returns a `Result` or a Deferred, and may change the error.
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn or_else<D>(self, f: impl FnOnce(E) -> D + 'static) -> Deferred<T, D::Error>
    where
        D: IntoDeferred<Value = T>,
    {
        self.step(OrElse(f), Location::caller())
    }

    /// Turns the error into a value, so that nothing is left that could fail.
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn recover(self, f: impl FnOnce(E) -> T + 'static) -> Deferred<T, Never> {
        self.step(Recover(f), Location::caller())
    }

    /// Goes on with the whole outcome, a Stop among it.
    #[doc(alias = "addBoth")]
    #[track_caller]
    pub fn then<D: IntoDeferred>(
        self,
        f: impl FnOnce(Outcome<T, E>) -> D + 'static,
    ) -> Deferred<D::Value, D::Error> {
        self.step(Then(f), Location::caller())
    }

    /// Goes on with `ok` or with `err`. What `ok` fails with is not seen by `err`.
    #[doc(alias = "addCallbacks")]
    #[track_caller]
    pub fn branch<A, B>(
        self,
        ok: impl FnOnce(T) -> A + 'static,
        err: impl FnOnce(E) -> B + 'static,
    ) -> Deferred<A::Value, A::Error>
    where
        A: IntoDeferred,
        B: IntoDeferred<Value = A::Value, Error = A::Error>,
    {
        self.step(Branch(ok, err), Location::caller())
    }

    /// Looks at the value.
    #[track_caller]
    pub fn inspect(self, f: impl FnOnce(&T) + 'static) -> Self {
        self.step(Inspect(f), Location::caller())
    }

    /// Looks at the error, which stays unhandled.
    #[track_caller]
    pub fn inspect_err(self, f: impl FnOnce(&E) + 'static) -> Self {
        self.step(InspectErr(f), Location::caller())
    }

    /// Runs `f` however it ends, a Stop among it, and passes the end on. What has to wait is a
    /// [`Deferred::then`].
    #[track_caller]
    pub fn finally(self, f: impl FnOnce() + 'static) -> Self {
        self.step(Finally(f), Location::caller())
    }

    /// The outcome as a value. A `Stop(Cancelled)` that arrives here is delivered: the request is
    /// fulfilled, and clean-up that follows may wait.
    #[track_caller]
    pub fn settled(self) -> Deferred<Outcome<T, E>, Never> {
        self.step(Settled, Location::caller())
    }

    /// A request to end stops here: what is above runs on, and its end comes down as usual.
    #[track_caller]
    pub fn shield(self) -> Self {
        if self.is_ready() {
            return self;
        }
        self.step(Shield, Location::caller())
    }
}

impl<T: 'static, E: Fault> Deferred<Deferred<T, E>, E> {
    /// Waits for the inner one too.
    #[track_caller]
    pub fn flatten(self) -> Deferred<T, E> {
        self.step(AndThen(|inner| inner), Location::caller())
    }
}

pub(crate) struct Map<F>(pub(crate) F);

impl<T: 'static, E: Fault, U: 'static, F: FnOnce(T) -> U + 'static> Work<T, E> for Map<F> {
    type Value = U;
    type Error = E;
    const LANES: u8 = lane::OK;

    #[inline]
    fn call(self, slot: Slot<T, E>) -> Next<U, E> {
        match slot.outcome {
            Outcome::Ok(value) => Next::Done(Slot::new(Outcome::Ok((self.0)(value)))),
            outcome => Next::Done(error_lane(outcome, slot.trail)),
        }
    }

    #[inline]
    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<U, E> {
        error_lane(slot.outcome, slot.trail)
    }
}

pub(crate) struct AndThen<F>(pub(crate) F);

impl<T: 'static, E: Fault, D, F> Work<T, E> for AndThen<F>
where
    D: IntoDeferred<Error = E>,
    F: FnOnce(T) -> D + 'static,
{
    type Value = D::Value;
    type Error = E;
    const LANES: u8 = lane::OK;

    #[inline]
    fn call(self, slot: Slot<T, E>) -> Next<D::Value, E> {
        match slot.outcome {
            Outcome::Ok(value) => (self.0)(value).into_next(),
            outcome => Next::Done(error_lane(outcome, slot.trail)),
        }
    }

    #[inline]
    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<D::Value, E> {
        error_lane(slot.outcome, slot.trail)
    }
}

struct AndThenTry<F>(F);

impl<T: 'static, E: Fault, U: 'static, F> Work<T, E> for AndThenTry<F>
where
    F: FnOnce(T) -> Result<Deferred<U, E>, E> + 'static,
{
    type Value = U;
    type Error = E;
    const LANES: u8 = lane::OK;

    fn call(self, slot: Slot<T, E>) -> Next<U, E> {
        match slot.outcome {
            Outcome::Ok(value) => match (self.0)(value) {
                Ok(inner) => inner.into_next(),
                Err(error) => Next::Done(Slot::new(Outcome::Err(error))),
            },
            outcome => Next::Done(error_lane(outcome, slot.trail)),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<U, E> {
        error_lane(slot.outcome, slot.trail)
    }
}

struct MapErr<F>(F);

impl<T: 'static, E: Fault, G: Fault, F: FnOnce(E) -> G + 'static> Work<T, E> for MapErr<F> {
    type Value = T;
    type Error = G;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, G> {
        Next::Done(match slot.outcome {
            Outcome::Err(error) => {
                let steps = error.steps(&slot.trail);
                let mut slot = Slot::new(Outcome::Err((self.0)(error)));
                // A Failure that was an error of another type begins with that one's trail.
                let is_fresh =
                    matches!(&slot.outcome, Outcome::Err(e) if e.steps(&slot.trail).is_empty());
                for step in steps.into_iter().filter(|_| is_fresh) {
                    slot.passed(step);
                }
                slot
            }
            outcome => ok_lane(outcome),
        })
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<T, G> {
        from.keep_way_back::<T>();
        ok_lane(slot.outcome)
    }
}

struct OrElse<F>(F);

impl<T: 'static, E: Fault, D, F> Work<T, E> for OrElse<F>
where
    D: IntoDeferred<Value = T>,
    F: FnOnce(E) -> D + 'static,
{
    type Value = T;
    type Error = D::Error;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, D::Error> {
        match slot.outcome {
            Outcome::Err(error) => (self.0)(error).into_next(),
            outcome => Next::Done(ok_lane(outcome)),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<T, D::Error> {
        from.keep_way_back::<T>();
        ok_lane(slot.outcome)
    }
}

struct Recover<F>(F);

impl<T: 'static, E: Fault, F: FnOnce(E) -> T + 'static> Work<T, E> for Recover<F> {
    type Value = T;
    type Error = Never;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, Never> {
        Next::Done(match slot.outcome {
            Outcome::Err(error) => Slot::new(Outcome::Ok((self.0)(error))),
            outcome => ok_lane(outcome),
        })
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<T, Never> {
        from.keep_way_back::<T>();
        ok_lane(slot.outcome)
    }
}

struct Then<F>(F);

impl<T: 'static, E: Fault, D, F> Work<T, E> for Then<F>
where
    D: IntoDeferred,
    F: FnOnce(Outcome<T, E>) -> D + 'static,
{
    type Value = D::Value;
    type Error = D::Error;
    const LANES: u8 = lane::ALL;
    const ASKS: bool = true;

    fn call(self, slot: Slot<T, E>) -> Next<D::Value, D::Error> {
        (self.0)(slot.outcome).into_next()
    }

    fn pass(&mut self, _: Slot<T, E>, _: Passing) -> Slot<D::Value, D::Error> {
        unreachable!("it has a callback for every lane")
    }
}

struct Branch<F, G>(F, G);

impl<T: 'static, E: Fault, A, B, F, G> Work<T, E> for Branch<F, G>
where
    A: IntoDeferred,
    B: IntoDeferred<Value = A::Value, Error = A::Error>,
    F: FnOnce(T) -> A + 'static,
    G: FnOnce(E) -> B + 'static,
{
    type Value = A::Value;
    type Error = A::Error;
    const LANES: u8 = lane::OK | lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<A::Value, A::Error> {
        match slot.outcome {
            Outcome::Ok(value) => (self.0)(value).into_next(),
            Outcome::Err(error) => (self.1)(error).into_next(),
            Outcome::Stop(stop) => Next::Done(Slot::new(Outcome::Stop(stop))),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<A::Value, A::Error> {
        match slot.outcome {
            Outcome::Stop(stop) => Slot::new(Outcome::Stop(stop)),
            _ => unreachable!("it has a callback for both"),
        }
    }
}

struct Inspect<F>(F);

impl<T: 'static, E: Fault, F: FnOnce(&T) + 'static> Work<T, E> for Inspect<F> {
    type Value = T;
    type Error = E;
    const KEEPS_WAY_BACK: bool = true;
    const LANES: u8 = lane::OK;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        if let Outcome::Ok(value) = &slot.outcome {
            (self.0)(value);
        }
        Next::Done(slot)
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<T, E> {
        slot
    }
}

struct InspectErr<F>(F);

impl<T: 'static, E: Fault, F: FnOnce(&E) + 'static> Work<T, E> for InspectErr<F> {
    type Value = T;
    type Error = E;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        if let Outcome::Err(error) = &slot.outcome {
            (self.0)(error);
        }
        Next::Done(slot)
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<T, E> {
        from.keep_way_back::<T>();
        slot
    }
}

struct Finally<F>(F);

impl<T: 'static, E: Fault, F: FnOnce() + 'static> Work<T, E> for Finally<F> {
    type Value = T;
    type Error = E;
    const KEEPS_WAY_BACK: bool = true;
    const LANES: u8 = lane::ALL;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        let end = AtUnwind(Some(slot));
        (self.0)();
        Next::Done(end.keep())
    }

    fn pass(&mut self, _: Slot<T, E>, _: Passing) -> Slot<T, E> {
        unreachable!("it has a callback for every lane")
    }
}

/// An outcome that a panicking callback must not swallow: what is unhandled of it is reported.
struct AtUnwind<T: 'static, E: Fault>(Option<Slot<T, E>>);

impl<T: 'static, E: Fault> AtUnwind<T, E> {
    fn keep(mut self) -> Slot<T, E> {
        self.0.take().expect("kept once")
    }
}

impl<T: 'static, E: Fault> Drop for AtUnwind<T, E> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            crate::node::discard(slot, Location::caller());
        }
    }
}

struct Settled;

impl<T: 'static, E: Fault> Work<T, E> for Settled {
    type Value = Outcome<T, E>;
    type Error = Never;
    const LANES: u8 = 0;
    const ASKS: bool = true;

    fn call(self, slot: Slot<T, E>) -> Next<Outcome<T, E>, Never> {
        Next::Done(Slot::new(Outcome::Ok(slot.outcome)))
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<Outcome<T, E>, Never> {
        Slot::new(Outcome::Ok(slot.outcome))
    }
}

struct Shield;

impl<T: 'static, E: Fault> Work<T, E> for Shield {
    type Value = T;
    type Error = E;
    const LANES: u8 = 0;
    const SHIELDS: bool = true;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        Next::Done(slot)
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<T, E> {
        from.keep_way_back::<T>();
        slot
    }
}

/// The end that only adds its site to the trail.
pub(crate) struct Report;

impl<T: 'static, E: Fault> Work<T, E> for Report {
    type Value = ();
    type Error = E;
    const LANES: u8 = 0;

    fn call(self, slot: Slot<T, E>) -> Next<(), E> {
        Next::Done(Slot { outcome: slot.outcome.map(drop), trail: slot.trail })
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing) -> Slot<(), E> {
        Slot { outcome: slot.outcome.map(drop), trail: slot.trail }
    }
}

/// Runs crate code on an outcome that arrives, in no callback: the members of `all` and others.
pub(crate) struct Arrive<F>(Option<F>);

impl<F> Arrive<F> {
    pub(crate) fn new(f: F) -> Self {
        Self(Some(f))
    }
}

impl<T, E, U, G, F> Work<T, E> for Arrive<F>
where
    T: 'static,
    E: Fault,
    U: 'static,
    G: Fault,
    F: FnOnce(Slot<T, E>, Passing) -> Slot<U, G> + 'static,
{
    type Value = U;
    type Error = G;
    const LANES: u8 = 0;

    fn call(mut self, slot: Slot<T, E>) -> Next<U, G> {
        Next::Done(self.pass(slot, Passing::READY))
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing) -> Slot<U, G> {
        let f = self.0.take().expect("an outcome arrives once");
        f(slot, from)
    }
}

/// What is no value, for a step that has no callback for it.
#[inline]
pub(crate) fn error_lane<T, U, E: Fault>(outcome: Outcome<T, E>, trail: E::Trail) -> Slot<U, E> {
    match outcome {
        Outcome::Err(error) => Slot { outcome: Outcome::Err(error), trail },
        Outcome::Stop(stop) => Slot::new(Outcome::Stop(stop)),
        Outcome::Ok(_) => unreachable!("a value goes to the callback"),
    }
}

/// What is no error, for a step that has a callback for errors only.
#[inline]
fn ok_lane<T, E: Fault, F: Fault>(outcome: Outcome<T, E>) -> Slot<T, F> {
    Slot::new(match outcome {
        Outcome::Ok(value) => Outcome::Ok(value),
        Outcome::Stop(stop) => Outcome::Stop(stop),
        Outcome::Err(_) => unreachable!("an error goes to the callback"),
    })
}
