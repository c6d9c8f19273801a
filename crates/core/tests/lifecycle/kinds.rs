//! What can stand behind a Deferred.

use thence_core::{Deferred, all, first};

use crate::case::{Item, No, State};
use crate::events::Event;

pub struct Kind {
    pub name: &'static str,
    pub made: Made,
    /// Whether it hands the very value on. Where a callback of its own takes the value and gives
    /// another, nothing goes back any more.
    pub hands_on: bool,
}

pub enum Made {
    /// Of a source.
    Behind(fn(Deferred<Item, No>) -> Deferred<Item, No>),
    /// By its end.
    Ready,
    /// A source whose trigger is for another thread.
    Remote,
}

pub const KINDS: [Kind; 11] = [
    Kind { name: "a source", made: Made::Behind(|d| d), hands_on: true },
    Kind { name: "a ready value", made: Made::Ready, hands_on: false },
    Kind { name: "a remote trigger", made: Made::Remote, hands_on: true },
    Kind { name: "a step that looks", made: Made::Behind(|d| d.inspect(|_| ())), hands_on: true },
    Kind { name: "a step that maps", made: Made::Behind(|d| d.map(|n| n)), hands_on: false },
    Kind {
        name: "a flow",
        made: Made::Behind(|d| Deferred::from_future(async move { d.await })),
        hands_on: false,
    },
    Kind { name: "a forwarder", made: Made::Behind(forwarder), hands_on: true },
    Kind { name: "one that took over", made: Made::Behind(took_over), hands_on: true },
    Kind { name: "first", made: Made::Behind(|d| first([d])), hands_on: true },
    Kind {
        name: "all",
        made: Made::Behind(|d| all([d]).map(|mut values| values.remove(0))),
        hands_on: false,
    },
    Kind { name: "interruptible", made: Made::Behind(|d| d.interruptible().1), hands_on: true },
];

impl Kind {
    /// A ready value has no time before its end, and no trigger.
    pub fn can_be(&self, state: State, event: &Event) -> bool {
        !matches!(self.made, Made::Ready) || (state != State::Pending && event.takes_ready)
    }
}

/// A step that returned a Deferred while nobody waited for it.
fn forwarder(d: Deferred<Item, No>) -> Deferred<Item, No> {
    let (go, outer) = Deferred::<(), No>::with_error();
    let outer = outer.and_then(move |()| d);
    go.fire(());
    outer
}

/// A step that returned a Deferred which took over its waiter.
fn took_over(d: Deferred<Item, No>) -> Deferred<Item, No> {
    let (go, outer) = Deferred::<(), No>::with_error();
    let outer = outer.and_then(move |()| d).inspect(|_| ());
    go.fire(());
    outer
}
