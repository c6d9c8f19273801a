//! What owns: scopes (DESIGN.md §3.4), and the lock.

use super::{Canceller, Id, Out, Reference, What, Work};
use crate::program::Back;

impl Reference {
    pub(super) fn add_to_scope(&mut self, scope: usize, id: Id) {
        self.scopes[scope].members.push(id);
        let step = self.attach(id, Work::Owned { scope, member: id });
        self.leave(step);
    }

    pub(super) fn ended_in_scope(&mut self, scope: usize, id: Id) {
        let members = &mut self.scopes[scope].members;
        members.retain(|member| *member != id);
        if members.is_empty() {
            for waiting in std::mem::take(&mut self.scopes[scope].waiting) {
                self.settle_scope_end(waiting);
            }
        }
    }

    pub(super) fn settle_scope_end(&mut self, waiting: Id) {
        if self.is_pending(waiting) {
            self.end_source(waiting, Out::Ok(Vec::new()));
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

    pub(super) fn drop_scope(&mut self, scope: usize) {
        self.scopes[scope].dropped = true;
        if self.scopes[scope].held == 0 {
            self.cancel_scope(scope);
        }
    }

    /// Whoever drops it meanwhile was not the last to hold it.
    pub(super) fn while_held(&mut self, scope: usize, f: impl FnOnce(&mut Self)) {
        self.scopes[scope].held += 1;
        f(self);
        self.scopes[scope].held -= 1;
        if self.scopes[scope].dropped {
            self.drop_scope(scope);
        }
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
        self.end_source(next, Out::Guard);
        self.settle();
    }

    pub(super) fn leave_line(&mut self, id: Id) {
        let before = self.line.len();
        self.line.retain(|waiting| *waiting != id);
        if self.line.len() < before {
            self.end_source(id, Out::Cancelled);
            self.settle();
        }
    }
}
