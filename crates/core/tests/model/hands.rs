//! What a program has at hand: the same bookkeeping for the reference and for the real thing.
//!
//! It also keeps programs from building the one thing that no rule can end: a cycle through a flow,
//! a scope or an `all` (DESIGN.md §3.6). Everything has an age. What a callback finds at hand is
//! older than the step or flow it runs in, so it cannot wait for it; only a chain of plain steps may
//! be returned into itself, because that is found and ends.

use std::rc::Rc;

use crate::program::{Body, Moment};

/// The things at hand: Deferreds, triggers, cancellers, scopes, guards of the lock, and deeds.
pub struct Hands<D, T, C, S, G> {
    pub deferreds: Vec<Held<D>>,
    /// With the number of its source.
    pub triggers: Vec<(u32, T)>,
    pub cancellers: Vec<C>,
    pub scopes: Vec<HeldScope<S>>,
    pub guards: Vec<G>,
    /// What the next user's code at a moment does, the oldest first.
    deeds: Vec<(Moment, Rc<Body>)>,
    numbers: u32,
    ages: u32,
}

pub struct Held<D> {
    pub d: D,
    pub age: u32,
    /// The chain of plain steps that it is the end of.
    pub line: u32,
}

pub struct HeldScope<S> {
    pub scope: S,
    /// The age of the youngest that was added.
    youngest: u32,
    /// What may still be added is older than this: somebody waits for the scope's end.
    closed: u32,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What is at hand here is older than this.
    limit: Option<u32>,
    /// The line of the step that runs.
    line: Option<u32>,
}

impl Place {
    /// Outside any callback.
    pub const OUTSIDE: Self = Self { limit: None, line: None };

    /// In the callback of a step or a flow of this age.
    pub fn inside(age: u32, line: Option<u32>) -> Self {
        Self { limit: Some(age), line }
    }
}

impl<D, T, C, S, G> Hands<D, T, C, S, G> {
    pub fn new() -> Self {
        Self {
            deferreds: Vec::new(),
            triggers: Vec::new(),
            cancellers: Vec::new(),
            scopes: Vec::new(),
            guards: Vec::new(),
            deeds: Vec::new(),
            numbers: 0,
            ages: 0,
        }
    }

    /// A number that nothing had before.
    pub fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// The age of what is made here.
    pub fn age(&mut self, place: Place) -> u32 {
        match place.limit {
            Some(limit) => limit - 1,
            None => {
                self.ages += AGES_OF_ONE;
                self.ages
            }
        }
    }

    /// Takes a Deferred that is at hand here.
    pub fn take(&mut self, pick: u8, place: Place) -> Option<Held<D>> {
        self.find(pick, place).map(|at| self.deferreds.remove(at))
    }

    /// Looks at one.
    pub fn look(&self, pick: u8, place: Place) -> Option<&Held<D>> {
        self.find(pick, place).map(|at| &self.deferreds[at])
    }

    /// Takes the end of the chain of steps that the place is in.
    pub fn take_itself(&mut self, place: Place) -> Option<D> {
        let line = place.line?;
        let at = self.deferreds.iter().position(|held| held.line == line)?;
        Some(self.deferreds.remove(at).d)
    }

    /// Puts one at hand, as the first of its line.
    pub fn put(&mut self, d: D, age: u32) {
        let line = self.number();
        self.deferreds.push(Held { d, age, line });
    }

    pub fn take_trigger(&mut self, pick: u8) -> Option<T> {
        if self.triggers.is_empty() {
            return None;
        }
        let at = usize::from(pick) % self.triggers.len();
        Some(self.triggers.remove(at).1)
    }

    pub fn take_trigger_of(&mut self, source: u32) -> Option<T> {
        let at = self.triggers.iter().position(|(number, _)| *number == source)?;
        Some(self.triggers.remove(at).1)
    }

    pub fn trigger(&self, pick: u8) -> Option<&(u32, T)> {
        pick_of(&self.triggers, pick)
    }

    pub fn canceller(&self, pick: u8) -> Option<&C> {
        pick_of(&self.cancellers, pick)
    }

    pub fn put_scope(&mut self, scope: S) {
        self.scopes.push(HeldScope { scope, youngest: 0, closed: u32::MAX });
    }

    pub fn take_scope(&mut self, pick: u8) -> Option<S> {
        if self.scopes.is_empty() {
            return None;
        }
        let at = usize::from(pick) % self.scopes.len();
        Some(self.scopes.remove(at).scope)
    }

    pub fn take_guard(&mut self, pick: u8) -> Option<G> {
        if self.guards.is_empty() {
            return None;
        }
        let at = usize::from(pick) % self.guards.len();
        Some(self.guards.remove(at))
    }

    pub fn arm(&mut self, moment: Moment, body: &Rc<Body>) {
        self.deeds.push((moment, body.clone()));
    }

    /// Takes the oldest deed for this moment.
    pub fn take_deed(&mut self, moment: Moment) -> Option<Rc<Body>> {
        let at = self.deeds.iter().position(|(armed, _)| *armed == moment)?;
        Some(self.deeds.remove(at).1)
    }

    pub fn scope(&self, pick: u8) -> Option<&S> {
        pick_of(&self.scopes, pick).map(|held| &held.scope)
    }

    /// A scope, and a Deferred for it.
    pub fn take_for_scope(&mut self, scope: u8, on: u8, place: Place) -> Option<(&S, D)> {
        let count = self.scopes.len();
        if count == 0 {
            return None;
        }
        let at = self.find(on, place)?;
        let held = &mut self.scopes[usize::from(scope) % count];
        let age = self.deferreds[at].age;
        if age >= held.closed {
            return None;
        }
        held.youngest = held.youngest.max(age);
        Some((&held.scope, self.deferreds.remove(at).d))
    }

    /// A scope whose end may be waited for here, and the age of that wait.
    pub fn scope_to_end(&mut self, pick: u8, place: Place) -> Option<(&S, u32)> {
        let count = self.scopes.len();
        if count == 0 {
            return None;
        }
        let age = self.age(place);
        let held = &mut self.scopes[usize::from(pick) % count];
        if held.youngest > age {
            return None;
        }
        held.closed = held.closed.min(age);
        Some((&held.scope, age))
    }

    fn find(&self, pick: u8, place: Place) -> Option<usize> {
        let at_hand = |held: &Held<D>| place.limit.is_none_or(|limit| held.age < limit);
        let count = self.deferreds.iter().filter(|held| at_hand(held)).count();
        if count == 0 {
            return None;
        }
        let nth = usize::from(pick) % count;
        (0..self.deferreds.len()).filter(|at| at_hand(&self.deferreds[*at])).nth(nth)
    }
}

fn pick_of<X>(things: &[X], pick: u8) -> Option<&X> {
    if things.is_empty() { None } else { things.get(usize::from(pick) % things.len()) }
}

/// Room for what the callbacks of one thing make, and theirs.
const AGES_OF_ONE: u32 = crate::program::DEEPEST as u32 + 1;
