//! What can happen to a Deferred.

use crate::case::Case;

pub struct Event {
    pub name: &'static str,
    /// What happens before its source has ended.
    pub before: fn(&mut Case),
    /// How its source ends.
    pub ends: Ends,
    /// What happens right after that, in the same callback.
    pub inside: Option<fn(&mut Case)>,
    /// What happens after that.
    pub after: fn(&mut Case),
    /// Whether its producer has an `on_cancel` hook.
    pub hook: bool,
    /// Whether the value and the failure panic when they are dropped.
    pub loud: bool,
    /// Whether it can happen to a ready value: nothing happens before the end.
    pub takes_ready: bool,
}

pub enum Ends {
    Here,
    InACallback,
    /// On another thread.
    Away,
}

pub const EVENTS: [Event; 18] = [
    Event { after: Case::attach, ..Event::named("attached") },
    Event { before: Case::attach, takes_ready: false, ..Event::named("attached before the end") },
    Event { after: Case::drop, ..Event::named("dropped") },
    Event { before: Case::drop, takes_ready: false, ..Event::named("dropped before the end") },
    Event { after: step_and_drop, ..Event::named("dropped with a step attached") },
    Event { after: Case::leave, ..Event::named("left") },
    Event { before: Case::leave, takes_ready: false, ..Event::named("left before the end") },
    Event {
        before: Case::cancel,
        after: Case::attach,
        hook: true,
        takes_ready: false,
        ..Event::named("cancelled before, has a hook")
    },
    Event {
        before: Case::cancel,
        after: Case::attach,
        takes_ready: false,
        ..Event::named("cancelled before, has none")
    },
    Event {
        before: cancel_and_drop,
        hook: true,
        takes_ready: false,
        ..Event::named("cancelled before, then dropped")
    },
    Event { after: cancel_and_attach, hook: true, ..Event::named("cancelled after") },
    Event {
        ends: Ends::InACallback,
        inside: Some(Case::attach),
        ..Event::named("fired inside a callback")
    },
    Event {
        before: Case::attach,
        ends: Ends::InACallback,
        takes_ready: false,
        ..Event::named("fired inside, attached before")
    },
    Event {
        before: Case::attach,
        ends: Ends::Away,
        takes_ready: false,
        ..Event::named("fired from another thread")
    },
    Event { after: panic_and_attach, ..Event::named("panicking callback") },
    Event { after: panic_and_drop, ..Event::named("panicking callback, left") },
    Event { after: bombs_and_attach, ..Event::named("panicking drop of closures") },
    Event { after: Case::drop, loud: true, ..Event::named("panicking drop of the end") },
];

impl Event {
    const fn named(name: &'static str) -> Self {
        Self {
            name,
            before: |_| (),
            ends: Ends::Here,
            inside: None,
            after: |_| (),
            hook: false,
            loud: false,
            takes_ready: true,
        }
    }
}

fn step_and_drop(case: &mut Case) {
    case.step();
    case.drop();
}

fn cancel_and_drop(case: &mut Case) {
    case.cancel();
    case.drop();
}

fn cancel_and_attach(case: &mut Case) {
    case.cancel();
    case.attach();
}

fn panic_and_attach(case: &mut Case) {
    case.panicking_step();
    case.attach();
}

fn panic_and_drop(case: &mut Case) {
    case.panicking_step();
    case.drop();
}

fn bombs_and_attach(case: &mut Case) {
    case.bombs();
    case.attach();
}
