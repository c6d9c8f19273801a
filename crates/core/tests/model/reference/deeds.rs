//! What code of a user's types does when core runs it (DESIGN.md §3.2): "`on_cancel` hooks and
//! destructors [..] run at once, with the queue held, so nothing they fire runs before they return."

use super::{Id, Out, Reference, State, Told, Waiter, What, Work};
use crate::event::{Event, Saw};
use crate::hands::Place;
use crate::program::{Back, Moment};

impl Reference {
    /// Does the oldest deed for this moment. Gives the number of its panic.
    pub(super) fn act(&mut self, moment: Moment) -> Option<u32> {
        let deed = self.hands.take_deed(moment)?;
        self.ops(&deed.ops, Place::OUTSIDE);
        (deed.panics && !self.unwinding).then(|| self.hands.number())
    }

    /// The same, of a deed that does not panic.
    pub(super) fn act_calmly(&mut self, moment: Moment) {
        if let Some(deed) = self.hands.take_deed(moment) {
            self.ops(&deed.ops, Place::OUTSIDE);
        }
    }

    /// The trail of an error is made: held, and what that set off runs before the error is used.
    pub(super) fn make_trail(&mut self) {
        self.held(|this| this.act_calmly(Moment::TrailMade));
        self.settle();
    }

    /// "A panic in a destructor there is reported, and nothing unwinds out."
    pub(super) fn guarded(&mut self, moment: Moment) {
        self.held(|this| {
            let panic = this.act(moment);
            this.report_panic(panic);
        });
    }

    pub(super) fn report_panic(&mut self, panic: Option<u32>) {
        if let Some(number) = panic {
            self.log.push(Event::Reported { what: Saw::Destructor(number) });
        }
    }

    /// What happens in it finds a panic on its way.
    pub(super) fn while_unwinding(&mut self, unwinding: bool, f: impl FnOnce(&mut Self)) {
        let before = self.unwinding;
        self.unwinding |= unwinding;
        f(self);
        self.unwinding = before;
    }

    /// An error is told of the step that ends with it, whose end has begun: nothing can end it any
    /// more, and a request only stands.
    pub(super) fn tell_of_step(&mut self, id: Id) {
        let times = match self.cells[id].told {
            Told::Nothing => 0,
            Told::Itself => 1,
            Told::Both => 2,
        };
        for _ in 0..times {
            self.guarded(Moment::Told);
        }
    }

    /// A step returned a Deferred and somebody waits for the step already: what he waits for is
    /// the Deferred from now on, and a trail names the step beside his. Where nobody does, or it is
    /// a flow's await, the step stays and hands on, "one hop and never two".
    pub(super) fn replaced(&mut self, id: Id, inner: Id) {
        match self.behind(id) {
            Waiter::Cell(waiter) if !matches!(self.cells[waiter].what, What::Flow(_)) => {
                self.cells[id].told = Told::Nothing;
                if self.cells[waiter].told == Told::Itself {
                    self.cells[waiter].told = Told::Both;
                }
                return;
            }
            Waiter::Member { .. } => {
                self.cells[id].told = Told::Nothing;
                return;
            }
            _ if self.cells[id].at_once => {
                // There was no step: what it returned is the Deferred that was to be had.
                self.cells[id].told = Told::Nothing;
                return;
            }
            _ => {}
        }
        let inner = if self.is_left_out(inner) { self.waits_for(inner) } else { inner };
        if self.is_pending(inner)
            && matches!(self.cells[inner].what, What::Forward)
            && !self.is_ended(self.waits_for(inner))
        {
            self.cells[inner].told = Told::Nothing;
        }
    }

    /// Who waits behind a cell, past the steps whose place another took.
    fn behind(&self, id: Id) -> Waiter {
        match self.cells[id].waiter {
            Waiter::Cell(waiter) if self.is_left_out(waiter) => self.behind(waiter),
            waiter => waiter,
        }
    }

    /// Whether a step on it would run at once: outside any callback, with nothing queued before it,
    /// and no way back to keep.
    pub(super) fn runs_at_once(&self, to: Id, work: &Work) -> bool {
        let cell = &self.cells[to];
        let has_way_back = match &cell.state {
            State::Ended(Out::Ok(items)) => items.iter().any(|i| !matches!(i.back, Back::No)),
            State::Ended(_) => false,
            _ => return false,
        };
        self.busy == 0 && self.queue.is_empty() && !has_way_back && work.wants(cell.lane())
    }

    /// What a cell that hands on waits for, past the steps whose place another took.
    fn waits_for(&self, id: Id) -> Id {
        let up = self.cells[id].up.expect("it hands on what another ends with");
        if self.is_left_out(up) { self.waits_for(up) } else { up }
    }

    /// It hands on in name only: core has no node of it any more.
    pub(super) fn is_left_out(&self, id: Id) -> bool {
        matches!(self.cells[id].what, What::Forward) && self.cells[id].told == Told::Nothing
    }
}
