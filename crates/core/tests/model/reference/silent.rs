//! Nothing is silent (DESIGN.md §3.5).

use super::{Id, Item, Out, Reference};
use crate::event::Event;

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
            Out::Ok(items) => self.give_back(items),
            Out::Settled(settled) => self.tell(settled),
            Out::Guard => self.release(),
            Out::Cancelled => {}
            Out::Err(_) | Out::Lost | Out::Panicked(_) => {
                self.log.push(Event::Reported { what: out.saw() });
            }
        }
    }

    pub(super) fn drop_values(&mut self, items: &[Item]) {
        self.log.extend(items.iter().map(|item| Event::Dropped { number: item.number }));
    }
}
