//! What stands behind a value that is handed on.

use super::header::Node;
use super::{Site, run_guarded, tell};
use crate::fault::Fault;
use crate::outcome::{Outcome, lane};
use crate::report::unclaimed;
use crate::slot::Slot;

/// What stands behind a value that is handed on: its way back, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Passing<'a> {
    from: Option<Node<'a>>,
    to: Option<Node<'a>>,
}

impl<'a> Passing<'a> {
    /// A ready value, with no node behind it.
    pub(crate) const READY: Self = Self { from: None, to: None };

    #[inline]
    pub(super) fn new(from: Option<Node<'a>>, to: Node<'a>) -> Self {
        Self { from, to: Some(to) }
    }

    /// The way back of a value from a stream of things. What is no value leaves it to the source,
    /// whose value may still come.
    pub(crate) fn way_back<T: 'static>(self) -> Option<Box<dyn FnOnce(T)>> {
        self.from.filter(|from| from.lane.get() == lane::OK)?.take_unclaimed()
    }

    /// As [`Passing::keep_way_back`], for a value that was only put in another order.
    pub(crate) fn keep_way_back_as<T: 'static, U: 'static>(
        self,
        as_it_was: impl FnOnce(U) -> T + 'static,
    ) {
        if let (Some(to), Some(hook)) = (self.to, self.way_back::<T>()) {
            to.set_unclaimed::<U>(Box::new(move |value| hook(as_it_was(value))));
        }
    }

    /// Nobody takes what has arrived: a value goes back or is dropped, the rest is reported.
    pub(crate) fn give_back<T: 'static, E: Fault>(self, slot: Slot<T, E>, site: Site) {
        match (slot, self.way_back::<T>()) {
            (Slot::Ok(value), Some(way_back)) => run_guarded(|| way_back(value)),
            (slot, _) => tell(slot, site),
        }
    }

    /// An error or a Stop is passed on as a value (an `Outcome`). If nobody takes it, it is still
    /// reported.
    pub(crate) fn tell_if_left<T: 'static, E: Fault>(self, slot: &Slot<T, E>) {
        let Some(to) = self.to else { return };
        let (trail, site) = (slot.trail(), to.site.get());
        to.set_unclaimed::<Outcome<T, E>>(Box::new(move |outcome| {
            let slot = match (outcome, trail) {
                (Outcome::Err(error), Some(trail)) => Slot::Err(error, trail),
                (outcome, _) => outcome.into(),
            };
            unclaimed(slot, site);
        }));
    }

    /// The value goes on unchanged, and so does its way back.
    pub(crate) fn keep_way_back<T: 'static>(self) {
        if let (Some(to), Some(hook)) = (self.to, self.way_back::<T>()) {
            to.set_unclaimed(hook);
        }
    }
}
