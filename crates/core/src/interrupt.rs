//! Ending a wait from outside: what `timeout` is made of.
//!
//! Users' code: the hook of [`Interrupt::on_over`] runs, and is dropped, under a guard and out of
//! its cell.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::{Canceller, Inner};
use crate::fault::Fault;
use crate::guarded::{held, let_go};
use crate::node::{Detacher, Passing};
use crate::outcome::{Never, Outcome};
use crate::slot::Slot;
use crate::steps::Arrive;
use crate::{Deferred, Trigger};

/// Can end a Deferred that [`Deferred::interruptible`] gave, before what it waits for has ended.
///
/// ```
/// use thence_core::{Deferred, Outcome};
///
/// let (_trigger, answer) = Deferred::<u8>::new();
/// let (interrupt, answer) = answer.interruptible();
/// let clone = interrupt.clone(); // whichever comes first
/// interrupt.settle(Outcome::Ok(1));
/// clone.settle(Outcome::Ok(2));
/// answer.inspect(|n| assert_eq!(*n, 1)).report();
/// ```
pub struct Interrupt<T: 'static, E: Fault>(Rc<Shared<T, E>>);

struct Shared<T: 'static, E: Fault> {
    /// Taken by whichever comes first: the end above, or the interruption.
    trigger: RefCell<Option<Trigger<T, E>>>,
    above: RefCell<Option<(Canceller, Detacher)>>,
    on_over: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// The same Deferred, and something that can end it at once.
    ///
    /// What comes from above is handed on whole, in no callback, and keeps its way back to where
    /// it came from. Leaving the Deferred leaves what is above; a request to end passes through.
    ///
    /// ```
    /// use thence_core::{Deferred, Outcome};
    ///
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let (interrupt, d) = d.interruptible();
    /// interrupt.settle(Outcome::Ok(0)); // whoever waits has it now
    /// assert!(trigger.is_cancelled()); // and what is above was asked to end
    /// d.inspect(|n| assert_eq!(*n, 0)).report();
    /// ```
    #[track_caller]
    pub fn interruptible(self) -> (Interrupt<T, E>, Self) {
        let shared = Rc::new(Shared {
            trigger: RefCell::default(),
            above: RefCell::default(),
            on_over: RefCell::default(),
        });
        if self.is_ready() {
            return (Interrupt(shared), self);
        }
        let site = Location::caller();
        let (trigger, outer) = Self::with_error();

        let arriving = shared.clone();
        let arrive = Arrive::new(move |slot: Slot<T, E>, from: Passing<'_>| {
            arriving.above.take();
            match arriving.take_trigger() {
                Some(trigger) => {
                    if let Some(way_back) = from.way_back() {
                        trigger.on_unclaimed(way_back);
                    }
                    trigger.settle_slot(slot);
                }
                None => from.give_back(slot, site),
            }
            Slot::<(), Never>::Ok(())
        });
        *shared.trigger.borrow_mut() = Some(trigger);
        let above = self.step(arrive, site);
        let canceller = above.canceller();
        if let Inner::Node(handle) = above.into_inner() {
            *shared.above.borrow_mut() = Some((canceller.clone(), handle.detacher()));
        }
        let left = Rc::downgrade(&shared);
        if let Some(trigger) = shared.trigger.take() {
            trigger.on_cancel(move || canceller.cancel());
            trigger.on_left(move || {
                if let Some(shared) = left.upgrade() {
                    shared.leave();
                }
            });
            shared.trigger.replace(Some(trigger));
        }
        (Interrupt(shared), outer)
    }
}

impl<T: 'static, E: Fault> Interrupt<T, E> {
    /// Ends it. What is above is asked to end and left. Does nothing once it has ended.
    ///
    /// ```
    /// # use thence_core::{Deferred, Failure, Outcome};
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let (interrupt, d) = d.interruptible();
    /// interrupt.settle(Outcome::Err(Failure::msg("enough")));
    /// assert!(trigger.is_cancelled());
    /// d.recover(|failure| failure.to_string().len() as u8).done(|n| assert_eq!(n, 6));
    /// ```
    pub fn settle(&self, outcome: Outcome<T, E>) {
        let Some(trigger) = self.0.take_trigger() else { return };
        if let Some((canceller, detacher)) = self.0.above.take() {
            canceller.cancel();
            detacher.detach();
        }
        trigger.settle(outcome);
    }

    /// Runs `f` when it has ended in another way or was left: the interruption is not needed any
    /// more. At once, if that is so already.
    ///
    /// ```
    /// # use std::{cell::Cell, rc::Rc};
    /// # use thence_core::Deferred;
    /// let timer = Rc::new(Cell::new("set"));
    /// let unset = timer.clone();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// let (interrupt, d) = d.interruptible();
    /// interrupt.on_over(move || unset.set("not needed any more"));
    /// trigger.fire(1);
    /// assert_eq!(timer.get(), "not needed any more");
    /// # d.report();
    /// ```
    pub fn on_over(&self, f: impl FnOnce() + 'static) {
        if self.0.trigger.borrow().is_some() {
            let_go(self.0.on_over.replace(Some(Box::new(f))));
        } else {
            held(f);
        }
    }
}

impl<T: 'static, E: Fault> Shared<T, E> {
    fn take_trigger(&self) -> Option<Trigger<T, E>> {
        let trigger = self.trigger.take()?;
        if let Some(f) = self.on_over.take() {
            held(f);
        }
        Some(trigger)
    }

    fn leave(&self) {
        let trigger = self.take_trigger();
        if let Some((_, detacher)) = self.above.take() {
            detacher.detach();
        }
        if let Some(trigger) = trigger {
            // Nobody sees this end.
            trigger.settle(Outcome::Stop(crate::Stop::Cancelled));
        }
    }
}

impl<T: 'static, E: Fault> Clone for Interrupt<T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Interrupt<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_over = self.0.trigger.borrow().is_none();
        f.debug_struct("Interrupt").field("is_over", &is_over).finish_non_exhaustive()
    }
}
