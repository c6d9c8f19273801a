//! Who waits in line: first come, first served.
//!
//! Users' code: what a waiter brought with it is dropped under a guard, out of the line.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::fault::Fault;
use crate::guarded::let_go;
use crate::node::{Passing, Site, run_guarded};
use crate::outcome::{Outcome, Stop};
use crate::slot::Slot;
use crate::steps::Arrive;
use crate::{Deferred, IntoDeferred, Trigger};

/// A line of waiters, each with a trigger and with something of its own.
///
/// One who is cancelled goes out of line at once and ends `Stop(Cancelled)`; one who leaves goes
/// out as well, unless he [stays](Waiters::stay) for what he brought. Every method lets go of the
/// line before anything of a user's runs.
pub(crate) struct Waiters<T: 'static, E: Fault, W: 'static = ()>(Rc<Line<T, E, W>>);

struct Line<T: 'static, E: Fault, W: 'static> {
    /// By ticket: whoever came first has the lowest.
    by_ticket: RefCell<BTreeMap<u64, Waiter<T, E, W>>>,
    next_ticket: Cell<u64>,
}

pub(crate) struct Waiter<T: 'static, E: Fault, W> {
    pub(crate) trigger: Trigger<T, E>,
    pub(crate) with: W,
}

impl<T: 'static, E: Fault, W: 'static> Waiters<T, E, W> {
    /// Puts one at the end of the line.
    pub(crate) fn join(&self, trigger: Trigger<T, E>, with: W) {
        self.join_then(trigger, with, || ());
    }

    /// As [`Waiters::join`]; runs `gone` when he has gone out of line unserved.
    pub(crate) fn join_then(
        &self,
        trigger: Trigger<T, E>,
        with: W,
        gone: impl FnOnce() + Clone + 'static,
    ) {
        let ticket = self.ticket();
        let go = self.way_out(ticket);
        let (left, gone_too) = (go.clone(), gone.clone());
        trigger.on_left(move || {
            left();
            gone_too();
        });
        trigger.on_cancel(move || {
            go();
            gone();
        });
        self.0.by_ticket.borrow_mut().insert(ticket, Waiter { trigger, with });
    }

    /// As [`Waiters::join`], for one who may leave and still be served.
    pub(crate) fn stay(&self, trigger: Trigger<T, E>, with: W) {
        let ticket = self.ticket();
        trigger.on_cancel(self.way_out(ticket));
        self.0.by_ticket.borrow_mut().insert(ticket, Waiter { trigger, with });
    }

    /// Takes out whoever came first.
    pub(crate) fn pop(&self) -> Option<Waiter<T, E, W>> {
        self.pop_if(|_| true)
    }

    /// Takes out whoever came first, if his turn has come.
    pub(crate) fn pop_if(&self, his_turn: impl FnOnce(&W) -> bool) -> Option<Waiter<T, E, W>> {
        let mut line = self.0.by_ticket.borrow_mut();
        let first = line.first_entry()?;
        his_turn(&first.get().with).then(|| first.remove())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.by_ticket.borrow().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.by_ticket.borrow().is_empty()
    }

    /// Shows each of them, first to last: where he began to wait, and what he has.
    pub(crate) fn each(&self, mut show: impl FnMut(Site, &W)) {
        self.0.by_ticket.borrow().values().for_each(|one| show(one.trigger.site(), &one.with));
    }

    fn ticket(&self) -> u64 {
        self.0.next_ticket.replace(self.0.next_ticket.get() + 1)
    }

    fn way_out(&self, ticket: u64) -> impl FnOnce() + Clone + use<T, E, W> {
        let line = Rc::downgrade(&self.0);
        move || {
            let Some(line) = line.upgrade() else { return };
            let gone = line.by_ticket.borrow_mut().remove(&ticket);
            if let Some(Waiter { trigger, with }) = gone {
                // Neither lost nor a failure: whoever left sees nothing of it.
                trigger.settle(Outcome::Stop(Stop::Cancelled));
                let_go(with);
            }
        }
    }
}

impl<T: 'static, E: Fault, W: 'static> Default for Waiters<T, E, W> {
    fn default() -> Self {
        Self(Rc::new(Line { by_ticket: RefCell::default(), next_ticket: Cell::new(0) }))
    }
}

/// Lets go of `held` when `d` ends, in whatever way and whoever waits for it.
pub(crate) fn keep_until_end<D: IntoDeferred>(
    d: D,
    held: impl Sized + 'static,
    site: Site,
) -> Deferred<D::Value, D::Error> {
    let let_go = Arrive::new(move |slot: Slot<D::Value, D::Error>, from: Passing<'_>| {
        from.keep_way_back::<D::Value>();
        run_guarded(|| drop(held));
        slot
    });
    Deferred::of_next(d.into_next(), site).step(let_go, site)
}
