//! What owns: scopes (DESIGN.md §3.4), and the lock.

use super::{Canceller, Id, Out, Reference, Waiter, What};
use crate::program::Back;

impl Reference {
    pub(super) fn add_to_scope(&mut self, scope: usize, id: Id) {
        if self.is_ended(id) {
            return self.report(id);
        }
        self.cells[id].waiter = Waiter::Owned { scope };
        self.scopes[scope].members.push(id);
    }

    pub(super) fn ended_in_scope(&mut self, scope: usize, id: Id) {
        let members = &mut self.scopes[scope].members;
        members.retain(|member| *member != id);
        if members.is_empty() {
            for waiting in std::mem::take(&mut self.scopes[scope].waiting) {
                self.settle_scope_end(waiting);
            }
        }
        match self.take(id) {
            Out::Ok(items) => self.drop_values(&items),
            out => self.let_go(out),
        }
    }

    pub(super) fn settle_scope_end(&mut self, waiting: Id) {
        if self.is_pending(waiting) {
            self.end(waiting, Out::Ok(Vec::new()));
        }
        self.settle();
    }

    /// "Dropping a `Scope` sends the cancel to all it owns; what ends later is still accounted to
    /// it."
    pub(super) fn cancel_scope(&mut self, scope: usize) {
        self.held(|this| {
            for member in this.scopes[scope].members.clone() {
                this.cancel(member);
            }
        });
        self.settle();
    }

    pub(super) fn scope_ended(&mut self, scope: usize) -> Id {
        let waiting = self.plain_source(Back::No);
        if self.scopes[scope].members.is_empty() {
            self.settle_scope_end(waiting);
        } else {
            self.scopes[scope].waiting.push(waiting);
        }
        waiting
    }
}

/// The lock: one at a time, in the order they came; who left or was cancelled is passed over.
impl Reference {
    pub(super) fn acquire(&mut self) -> Id {
        if !std::mem::replace(&mut self.locked, true) {
            return self.ready(Out::Guard);
        }
        let id = self.plain_source(Back::No);
        if let What::Source { hooks, hooked, .. } = &mut self.cells[id].what {
            hooks.push(Canceller::Line(id));
            *hooked = true;
        }
        self.line.push_back(id);
        id
    }

    pub(super) fn release(&mut self) {
        let Some(next) = self.line.pop_front() else {
            self.locked = false;
            return;
        };
        self.end(next, Out::Guard);
        self.settle();
    }

    pub(super) fn leave_line(&mut self, id: Id) {
        let before = self.line.len();
        self.line.retain(|waiting| *waiting != id);
        if self.line.len() < before {
            self.end(id, Out::Cancelled);
            self.settle();
        }
    }
}
