//! What can happen to a Deferred.

use crate::case::Hands;

pub struct Event {
    pub name: &'static str,
    /// What happens before its source has ended.
    pub before: fn(&Hands),
    /// How its source ends.
    pub ends: Ends,
    /// What happens right after that, in the same callback.
    pub inside: Option<fn(&Hands)>,
    /// What happens after that.
    pub after: fn(&Hands),
    /// What its failure does when it is told of its first step: while the source ends.
    pub told: Option<fn(&Hands)>,
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

pub const EVENTS: [Event; 24] = [
    Event { after: Hands::attach, ..Event::named("attached") },
    Event { before: Hands::attach, takes_ready: false, ..Event::named("attached before the end") },
    Event { after: Hands::drop, ..Event::named("dropped") },
    Event { before: Hands::drop, takes_ready: false, ..Event::named("dropped before the end") },
    Event { after: step_and_drop, ..Event::named("dropped with a step attached") },
    Event { after: Hands::leave, ..Event::named("left") },
    Event { before: Hands::leave, takes_ready: false, ..Event::named("left before the end") },
    Event {
        before: Hands::cancel,
        after: Hands::attach,
        hook: true,
        takes_ready: false,
        ..Event::named("cancelled before, has a hook")
    },
    Event {
        before: Hands::cancel,
        after: Hands::attach,
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
        inside: Some(Hands::attach),
        ..Event::named("fired inside a callback")
    },
    Event {
        before: Hands::attach,
        ends: Ends::InACallback,
        takes_ready: false,
        ..Event::named("fired inside, attached before")
    },
    Event {
        before: Hands::attach,
        ends: Ends::Away,
        takes_ready: false,
        ..Event::named("fired from another thread")
    },
    Event { after: panic_and_attach, ..Event::named("panicking callback") },
    Event { after: panic_and_drop, ..Event::named("panicking callback, left") },
    Event { after: bombs_and_attach, ..Event::named("panicking drop of closures") },
    Event { after: Hands::drop, loud: true, ..Event::named("panicking drop of the end") },
    Event {
        told: Some(Hands::cancel),
        after: Hands::attach,
        hook: true,
        takes_ready: false,
        ..Event::named("told, cancels itself")
    },
    Event {
        told: Some(Hands::attach),
        after: attach_if_left,
        takes_ready: false,
        ..Event::named("told, is attached")
    },
    Event {
        told: Some(Hands::drop),
        after: attach_if_left,
        takes_ready: false,
        ..Event::named("told, is dropped")
    },
    Event {
        told: Some(|_| panic!("told")),
        after: Hands::attach,
        takes_ready: false,
        ..Event::named("told, panics")
    },
    Event {
        before: Hands::attach,
        told: Some(Hands::cancel),
        hook: true,
        takes_ready: false,
        ..Event::named("told, cancels, attached before")
    },
    Event {
        before: Hands::extending_step,
        after: attach_if_left,
        takes_ready: false,
        ..Event::named("extended as a step is dropped")
    },
];

impl Event {
    const fn named(name: &'static str) -> Self {
        Self {
            name,
            before: |_| (),
            ends: Ends::Here,
            inside: None,
            told: None,
            after: |_| (),
            hook: false,
            loud: false,
            takes_ready: true,
        }
    }
}

/// A user's type may have attached it already.
fn attach_if_left(hands: &Hands) {
    if hands.is_left() {
        hands.attach();
    }
}

fn step_and_drop(hands: &Hands) {
    hands.step();
    hands.drop();
}

fn cancel_and_drop(hands: &Hands) {
    hands.cancel();
    hands.drop();
}

fn cancel_and_attach(hands: &Hands) {
    hands.cancel();
    hands.attach();
}

fn panic_and_attach(hands: &Hands) {
    hands.panicking_step();
    hands.attach();
}

fn panic_and_drop(hands: &Hands) {
    hands.panicking_step();
    hands.drop();
}

fn bombs_and_attach(hands: &Hands) {
    hands.bombs();
    hands.attach();
}
