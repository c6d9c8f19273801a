//! Waiting for several of different types.
//!
//! Users' code: values and their ways back go one by one, each under a guard.

use std::cell::RefCell;
use std::mem::needs_drop;
use std::panic::Location;
use std::rc::Rc;

use crate::Deferred;
use crate::fault::Fault;
use crate::guarded::Guarded;
use crate::many::{Arrival, Kept, gather};
use crate::node::{Passing, Site, tell};
use crate::slot::Slot;
use crate::steps::Arrive;

/// All values of a tuple of two to eight Deferreds. The first error or Stop asks the others to
/// end, and is its end, as in [`all`](crate::all).
///
/// ```
/// use thence_core::{Deferred, join};
///
/// let (name, page) = (Deferred::<&str>::ok("ann"), Deferred::ok(3));
/// join((name, page)).inspect(|both| assert_eq!(*both, ("ann", 3))).report();
/// ```
#[doc(alias = "try_join")]
#[doc(alias = "zip")]
#[track_caller]
pub fn join<J: Join>(deferreds: J) -> Deferred<J::Values, J::Error> {
    deferreds.joined()
}

/// What [`join`] takes: a tuple of two to eight Deferreds that fail in the same way.
#[diagnostic::on_unimplemented(
    message = "`join` takes a tuple of two to eight Deferreds with one error type, not `{Self}`",
    note = "write `join((a, b))`; `err_into()` gives Deferreds the same error, `all` takes many \
            of one type"
)]
pub trait Join: sealed::Joined<Self::Values, Self::Error> {
    /// The tuple of their values.
    type Values: 'static;
    /// What each of them can fail with.
    type Error: Fault;
}

mod sealed {
    pub trait Joined<V: 'static, E: crate::Fault> {
        #[track_caller]
        fn joined(self) -> crate::Deferred<V, E>;
    }
}

/// Implements it for a tuple: for each member its type, its place and a name for its value.
macro_rules! join_of {
    ($($t:ident $place:tt $name:ident),+) => {
        impl<$($t: 'static,)+ E: Fault> Join for ($(Deferred<$t, E>,)+) {
            type Values = ($($t,)+);
            type Error = E;
        }

        impl<$($t: 'static,)+ E: Fault> sealed::Joined<($($t,)+), E> for ($(Deferred<$t, E>,)+) {
            #[track_caller]
            fn joined(self) -> Deferred<($($t,)+), E> {
                let site = Location::caller();
                let aside = ($(Rc::<Aside<$t>>::default(),)+);
                let inputs = vec![$(put_aside(self.$place, aside.$place.clone(), site)),+];
                collect(inputs, site, move || {
                    $(let $name = aside.$place.take()?;)+
                    // Values that nobody takes go one by one: two destructors may panic.
                    let has_way = needs_drop::<($($t,)+)>() $(|| $name.way.is_some())+;
                    let value = ($($name.value,)+);
                    $(let $name = $name.way;)+
                    let ways = ($($name,)+);
                    let give_back = move |value: ($($t,)+)| {
                        $(Kept { value: value.$place, way: ways.$place }.give_back();)+
                    };
                    let way: Option<Box<dyn FnOnce(($($t,)+))>> =
                        if has_way { Some(Box::new(give_back)) } else { None };
                    Some(Kept { value, way: way.map(Guarded::new) })
                })
            }
        }
    };
}

join_of!(A 0 a, B 1 b);
join_of!(A 0 a, B 1 b, C 2 c);
join_of!(A 0 a, B 1 b, C 2 c, D 3 d);
join_of!(A 0 a, B 1 b, C 2 c, D 3 d, F 4 f);
join_of!(A 0 a, B 1 b, C 2 c, D 3 d, F 4 f, G 5 g);
join_of!(A 0 a, B 1 b, C 2 c, D 3 d, F 4 f, G 5 g, H 6 h);
join_of!(A 0 a, B 1 b, C 2 c, D 3 d, F 4 f, G 5 g, H 6 h, I 7 i);

/// Ends with the values that were put aside, once all are there.
fn collect<V: 'static, E: Fault>(
    inputs: Vec<Deferred<(), E>>,
    site: Site,
    values: impl FnOnce() -> Option<Kept<V>> + 'static,
) -> Deferred<V, E> {
    let mut values = Some(values);
    let mut end: Option<Slot<V, E>> = None;
    gather(inputs, site, move |arrival, members, trigger| match arrival {
        Arrival::One(_, slot, _) => match slot {
            Slot::Ok(()) => {}
            slot if end.is_none() => {
                end = Some(slot.without_value());
                members.cancel();
            }
            slot => tell(slot, site),
        },
        Arrival::Last => {
            let Some(trigger) = trigger else { return };
            let values = values.take();
            if let Some(slot) = end.take() {
                // What was put aside goes back before the end is known.
                drop(values);
                return trigger.settle_slot(slot);
            }
            let Some(Kept { value, way }) = values.and_then(|values| values()) else { return };
            if let Some(way) = way {
                trigger.on_unclaimed(way.into_inner());
            }
            trigger.fire(value);
        }
    })
}

/// A value that waits for the others; goes back where it came from if they do not come.
struct Aside<T: 'static>(RefCell<Option<Kept<T>>>);

impl<T: 'static> Aside<T> {
    fn take(&self) -> Option<Kept<T>> {
        self.0.take()
    }
}

impl<T: 'static> Default for Aside<T> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<T: 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(kept) = self.take() {
            kept.give_back();
        }
    }
}

/// Puts a value aside and passes the rest on.
fn put_aside<T: 'static, E: Fault>(
    d: Deferred<T, E>,
    aside: Rc<Aside<T>>,
    site: Site,
) -> Deferred<(), E> {
    let keep = move |slot: Slot<T, E>, from: Passing<'_>| {
        slot.map(|value| {
            aside.0.replace(Some(Kept::new(value, from)));
        })
    };
    d.step(Arrive::new(keep), site)
}
