//! Nothing is silent (DESIGN.md §3.5).

use super::{Id, Item, Out, Reference};
use crate::event::{Event, Saw};
use crate::program::{Back, Moment};

impl Reference {
    /// "An error that reaches a dropped or reported Deferred goes to the failure hook at that
    /// instant." What this sets off is told after it, and before the outermost returns.
    pub(super) fn unclaimed(&mut self, id: Id) {
        let out = self.take(id);
        self.let_go(out);
    }

    pub(super) fn let_go(&mut self, out: Out) {
        self.unclaimed.push_back(out);
        if std::mem::replace(&mut self.telling, true) {
            return;
        }
        self.held(|this| {
            while let Some(out) = this.unclaimed.pop_front() {
                this.tell(&out);
            }
        });
        self.telling = false;
    }

    /// "`Stop(Panicked)` and `Stop(Lost)` that reach an end are reported the same way;
    /// `Stop(Cancelled)` was asked for and is not."
    pub(super) fn tell(&mut self, out: &Out) {
        match out {
            Out::Ok(items) if items.iter().all(|item| matches!(item.back, Back::No)) => {
                self.drop_values(items);
            }
            Out::Ok(items) => self.give_back(items),
            Out::Settled(settled) => self.tell(settled),
            Out::Guard => self.release(),
            Out::Cancelled => {}
            Out::Err(numbers) => self.report_error(numbers),
            Out::AllFailed(numbers) => self.report_all_failed(numbers),
            Out::Lost | Out::Panicked(_) => {
                self.log.push(Event::Reported { what: out.saw() });
            }
        }
    }

    /// An error gives its text. One that panics at that is told with what it panicked with.
    fn report_error(&mut self, numbers: &[u32]) {
        self.held(|this| {
            let what = match this.act(Moment::Message) {
                Some(number) => Saw::Destructor(number),
                None => numbers.last().map_or(Saw::Nothing, |number| Saw::Error(*number)),
            };
            this.log.push(Event::Reported { what });
        });
    }

    /// Each error of a `first_ok` gives its text, in a guard of its own; the last is seen.
    fn report_all_failed(&mut self, numbers: &[u32]) {
        self.held(|this| {
            let mut what = Saw::Nothing;
            for number in numbers {
                what = Saw::Error(this.act(Moment::Message).unwrap_or(*number));
            }
            this.log.push(Event::Reported { what });
        });
    }

    /// Each in a guard of its own.
    pub(super) fn drop_values(&mut self, items: &[Item]) {
        items.iter().for_each(|item| self.drop_value(item.number));
    }

    pub(super) fn drop_value(&mut self, number: u32) {
        self.log.push(Event::Dropped { number });
        self.guarded(Moment::Dropped);
    }
}
