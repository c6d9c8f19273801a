//! Leave and cancel (DESIGN.md §3.4).

use super::{Canceller, Id, Item, Out, Reference, State, Waiter, What, Work};
use crate::event::Event;
use crate::hands::Place;
use crate::program::{Back, End, Hook};

impl Reference {
    /// "Leave: dropping a Deferred only stops waiting."
    pub(super) fn leave(&mut self, id: Id) {
        self.cells[id].waiter = Waiter::Nobody;
        if self.line.contains(&id) {
            self.held(|this| this.leave_line(id));
        }
        if self.is_ended(id) {
            self.held(|this| this.unclaimed(id));
        }
        self.settle();
    }

    pub(super) fn cancel(&mut self, id: Id) {
        self.request(id);
        self.settle();
    }

    /// "Cancel: an explicit request that travels up to whatever is pending now." What it sets off
    /// in requests is sent after it.
    pub(super) fn request(&mut self, id: Id) {
        self.requests.push_back(id);
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        while let Some(id) = self.requests.pop_front() {
            self.held(|this| this.walk(id));
        }
        self.asking = false;
    }

    pub(super) fn walk(&mut self, id: Id) {
        let mut at = Some(id);
        while let Some(id) = at {
            let cell = &mut self.cells[id];
            let was_asked = cell.asked;
            match cell.state {
                State::Ended(_) | State::Taken => return,
                State::Queued | State::Running => {
                    cell.asked = true;
                    return;
                }
                State::Pending if was_asked => return,
                State::Pending => cell.asked = true,
            }
            at = match &mut cell.what {
                What::Step(Work::Shield) => None,
                What::Step(_) | What::Forward => cell.up,
                // "The request goes to every await pending in a flow."
                What::Flow(flow) => {
                    let (awaited, _) = flow.awaits.expect("a pending flow awaits something");
                    self.request(awaited);
                    None
                }
                What::Source { .. } => {
                    self.ask_source(id);
                    None
                }
                What::Ready => unreachable!("it has ended"),
            };
        }
    }

    /// "A source with no canceller stops at once and ignores the later firing." One with a
    /// canceller ends when its producer says so.
    pub(super) fn ask_source(&mut self, id: Id) {
        let What::Source { hooks, hooked, .. } = &mut self.cells[id].what else { return };
        let (hooks, hooked) = (std::mem::take(hooks), *hooked);
        for hook in hooks {
            self.held(|this| this.hook(hook));
        }
        if !hooked && self.is_pending(id) {
            self.end_source(id, Out::Cancelled);
        }
    }

    pub(super) fn hook(&mut self, hook: Canceller) {
        let (hook, source) = match hook {
            Canceller::Line(id) => return self.leave_line(id),
            Canceller::Members(gathering) => return self.cancel_members(gathering),
            Canceller::User { hook, source } => (hook, source),
        };
        self.log.push(Event::Asked { source });
        match hook {
            Hook::Note => {}
            Hook::Own(end) => {
                if let Some(trigger) = self.hands.take_trigger_of(source) {
                    self.settle_trigger(trigger, end);
                }
            }
            Hook::Other(pick, end) => {
                if let Some(trigger) = self.hands.take_trigger(pick) {
                    self.settle_trigger(trigger, end);
                }
            }
            Hook::Cancel(pick) => {
                if let Some(id) = self.hands.look(pick, Place::OUTSIDE).map(|held| held.d) {
                    self.cancel(id);
                }
            }
            Hook::Drop(pick) => {
                if let Some(held) = self.hands.take(pick, Place::OUTSIDE) {
                    self.leave(held.d);
                }
            }
        }
    }

    /// "It stands until a `Stop(Cancelled)` has been delivered to whoever asks for outcomes; after
    /// it, clean-up may wait": there, and for all that waits below and was asked too.
    pub(super) fn delivered(&mut self, id: Id, out: &Out) {
        let What::Step(work) = &self.cells[id].what else { return };
        if !work.asks() || !matches!(out, Out::Cancelled) {
            return;
        }
        let mut at = Some(id);
        while let Some(id) = at
            && self.cells[id].asked
        {
            self.cells[id].asked = false;
            at = match self.cells[id].waiter {
                Waiter::Cell(waiter) => Some(waiter),
                _ => None,
            };
        }
    }

    /// Fires, fails, stops or drops a trigger. "Dropped unfired: `Stop(Lost)`; dropped after a
    /// cancel request: `Stop(Cancelled)`." What comes after a source has stopped is ignored; a value
    /// goes back.
    pub(super) fn settle_trigger(&mut self, id: Id, end: Option<End>) {
        let What::Source { back, .. } = self.cells[id].what else { return };
        let out = match end {
            Some(end) => self.out(end, back),
            None if self.cells[id].asked => Out::Cancelled,
            None => Out::Lost,
        };
        if let Out::Err(_) = out {
            // Before the look at the state: this may be what ends it.
            self.make_trail();
        }
        if self.is_pending(id) {
            self.end_source(id, out);
        } else if let Out::Ok(items) = out {
            self.held(|this| this.give_back(&items));
        }
        self.settle();
    }

    /// The end begins: it needs no canceller any more.
    pub(super) fn end_source(&mut self, id: Id, out: Out) {
        if let What::Source { hooks, .. } = &mut self.cells[id].what {
            hooks.clear();
        }
        self.cells[id].state = State::Running;
        self.finish_step(id, out);
    }

    /// "What they yield goes back where it came from when the source is a stream of things;
    /// otherwise it is dropped by type."
    pub(super) fn give_back(&mut self, items: &[Item]) {
        for item in items {
            let Item { number, back } = *item;
            match back {
                Back::No => self.drop_value(number),
                Back::Note => {
                    self.log.push(Event::Back { number });
                    self.drop_value(number);
                }
                Back::Next(pick) => self.held(|this| this.give_to_next(number, pick)),
            }
        }
    }

    pub(super) fn give_to_next(&mut self, number: u32, pick: u8) {
        self.log.push(Event::Back { number });
        let Some(next) = self.hands.take_trigger(pick) else {
            return self.drop_value(number);
        };
        let What::Source { back, .. } = self.cells[next].what else { return };
        let items = vec![Item { number, back }];
        if self.is_pending(next) {
            self.end_source(next, Out::Ok(items));
        } else {
            self.held(|this| this.give_back(&items));
        }
        self.settle();
    }
}
