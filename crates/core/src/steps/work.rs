//! What each step does with what comes down to it.

use std::panic::Location;

use crate::deferred::sealed::IntoNext;
use crate::fault::Fault;
use crate::node::{Next, Passing, Work, run_guarded};
use crate::outcome::{Never, Outcome, lane};
use crate::slot::Slot;
use crate::{Deferred, IntoDeferred};

pub(crate) struct Map<F>(pub(crate) F);

impl<T: 'static, E: Fault, U: 'static, F: FnOnce(T) -> U + 'static> Work<T, E> for Map<F> {
    type Value = U;
    type Error = E;
    const LANES: u8 = lane::OK;

    #[inline]
    fn call(self, slot: Slot<T, E>) -> Next<U, E> {
        match slot {
            Slot::Ok(value) => Next::Done(Slot::Ok((self.0)(value))),
            slot => Next::Done(slot.without_value()),
        }
    }

    #[inline]
    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<U, E> {
        slot.without_value()
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
        match slot {
            Slot::Ok(value) => (self.0)(value).into_next(),
            slot => Next::Done(slot.without_value()),
        }
    }

    #[inline]
    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<D::Value, E> {
        slot.without_value()
    }
}

pub(super) struct AndThenTry<F>(pub(super) F);

impl<T: 'static, E: Fault, U: 'static, F> Work<T, E> for AndThenTry<F>
where
    F: FnOnce(T) -> Result<Deferred<U, E>, E> + 'static,
{
    type Value = U;
    type Error = E;
    const LANES: u8 = lane::OK;

    fn call(self, slot: Slot<T, E>) -> Next<U, E> {
        match slot {
            Slot::Ok(value) => match (self.0)(value) {
                Ok(inner) => inner.into_next(),
                Err(error) => Next::Done(Slot::err(error)),
            },
            slot => Next::Done(slot.without_value()),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<U, E> {
        slot.without_value()
    }
}

pub(super) struct MapErr<F>(pub(super) F);

impl<T: 'static, E: Fault, G: Fault, F: FnOnce(E) -> G + 'static> Work<T, E> for MapErr<F> {
    type Value = T;
    type Error = G;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, G> {
        Next::Done(match slot {
            Slot::Err(error, trail) => {
                let steps = error.steps(&trail);
                let mut slot = Slot::err((self.0)(error));
                // A Failure that was an error of another type begins with that one's trail.
                let is_fresh = matches!(&slot, Slot::Err(e, trail) if e.steps(trail).is_empty());
                for step in steps.into_iter().filter(|_| is_fresh) {
                    slot.passed(step);
                }
                slot
            }
            slot => slot.without_error(),
        })
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<T, G> {
        from.keep_way_back::<T>();
        slot.without_error()
    }
}

pub(super) struct OrElse<F>(pub(super) F);

impl<T: 'static, E: Fault, D, F> Work<T, E> for OrElse<F>
where
    D: IntoDeferred<Value = T>,
    F: FnOnce(E) -> D + 'static,
{
    type Value = T;
    type Error = D::Error;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, D::Error> {
        match slot {
            Slot::Err(error, _) => (self.0)(error).into_next(),
            slot => Next::Done(slot.without_error()),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<T, D::Error> {
        from.keep_way_back::<T>();
        slot.without_error()
    }
}

pub(super) struct Recover<F>(pub(super) F);

impl<T: 'static, E: Fault, F: FnOnce(E) -> T + 'static> Work<T, E> for Recover<F> {
    type Value = T;
    type Error = Never;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, Never> {
        Next::Done(match slot {
            Slot::Err(error, _) => Slot::Ok((self.0)(error)),
            slot => slot.without_error(),
        })
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<T, Never> {
        from.keep_way_back::<T>();
        slot.without_error()
    }
}

pub(crate) struct Then<F>(pub(crate) F);

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
        (self.0)(slot.into_outcome()).into_next()
    }

    fn pass(&mut self, _: Slot<T, E>, _: Passing<'_>) -> Slot<D::Value, D::Error> {
        unreachable!("it has a callback for every lane")
    }
}

pub(super) struct Branch<F, G>(pub(super) F, pub(super) G);

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
        match slot {
            Slot::Ok(value) => (self.0)(value).into_next(),
            Slot::Err(error, _) => (self.1)(error).into_next(),
            Slot::Stop(stop) => Next::Done(Slot::Stop(stop)),
        }
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<A::Value, A::Error> {
        match slot {
            Slot::Stop(stop) => Slot::Stop(stop),
            _ => unreachable!("it has a callback for both"),
        }
    }
}

pub(super) struct Inspect<F>(pub(super) F);

impl<T: 'static, E: Fault, F: FnOnce(&T) + 'static> Work<T, E> for Inspect<F> {
    type Value = T;
    type Error = E;
    const KEEPS_WAY_BACK: bool = true;
    const LANES: u8 = lane::OK;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        if let Slot::Ok(value) = &slot {
            (self.0)(value);
        }
        Next::Done(slot)
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<T, E> {
        slot
    }
}

pub(super) struct InspectErr<F>(pub(super) F);

impl<T: 'static, E: Fault, F: FnOnce(&E) + 'static> Work<T, E> for InspectErr<F> {
    type Value = T;
    type Error = E;
    const LANES: u8 = lane::ERR;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        let end = AtUnwind(Some(slot));
        if let Some(Slot::Err(error, _)) = &end.0 {
            (self.0)(error);
        }
        Next::Done(end.keep())
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<T, E> {
        from.keep_way_back::<T>();
        slot
    }
}

pub(super) struct Finally<F>(pub(super) F);

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

    fn pass(&mut self, _: Slot<T, E>, _: Passing<'_>) -> Slot<T, E> {
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

pub(super) struct Settled;

impl<T: 'static, E: Fault> Work<T, E> for Settled {
    type Value = Outcome<T, E>;
    type Error = Never;
    const LANES: u8 = 0;
    const ASKS: bool = true;
    const GIVES_OUTCOME: bool = true;

    fn call(self, slot: Slot<T, E>) -> Next<Outcome<T, E>, Never> {
        Next::Done(Slot::Ok(slot.into_outcome()))
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<Outcome<T, E>, Never> {
        if slot.is_ok() {
            from.keep_way_back_as(|outcome: Outcome<T, E>| {
                outcome.ok().expect("only a value has a way back")
            });
        } else if !slot.is_cancelled() {
            from.tell_if_left(&slot);
        }
        Slot::Ok(slot.into_outcome())
    }
}

pub(super) struct Shield;

impl<T: 'static, E: Fault> Work<T, E> for Shield {
    type Value = T;
    type Error = E;
    const LANES: u8 = 0;
    const SHIELDS: bool = true;

    fn call(self, slot: Slot<T, E>) -> Next<T, E> {
        Next::Done(slot)
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<T, E> {
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
        Next::Done(slot.map(let_go))
    }

    fn pass(&mut self, slot: Slot<T, E>, _: Passing<'_>) -> Slot<(), E> {
        slot.map(let_go)
    }
}

/// Drops a value that nobody wants: its panic is reported, as a destructor's.
pub(crate) fn let_go<T>(value: T) {
    run_guarded(|| drop(value));
}

/// Runs crate code on an outcome that arrives, in no callback: the members of `all` and others.
pub(crate) struct Arrive<F>(Option<F>);

impl<F> Arrive<F> {
    pub(crate) fn new<T, E, U, G>(f: F) -> Self
    where
        E: Fault,
        G: Fault,
        F: FnOnce(Slot<T, E>, Passing<'_>) -> Slot<U, G> + 'static,
    {
        Self(Some(f))
    }
}

impl<T, E, U, G, F> Work<T, E> for Arrive<F>
where
    T: 'static,
    E: Fault,
    U: 'static,
    G: Fault,
    F: FnOnce(Slot<T, E>, Passing<'_>) -> Slot<U, G> + 'static,
{
    type Value = U;
    type Error = G;
    const LANES: u8 = 0;

    fn call(mut self, slot: Slot<T, E>) -> Next<U, G> {
        Next::Done(self.pass(slot, Passing::READY))
    }

    fn pass(&mut self, slot: Slot<T, E>, from: Passing<'_>) -> Slot<U, G> {
        let f = self.0.take().expect("an outcome arrives once");
        f(slot, from)
    }
}
