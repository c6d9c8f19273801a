//! Two threads, each on a core of its own, that wake each other: a round trip is there and back.

mod with_eventfd;
mod with_thence;
mod with_tokio;

use measure::cpu;

use crate::subject::{By, Subject};

pub const SUBJECTS: [Subject; 4] = [
    Subject {
        name: "wake-tokio",
        what: "tokio, a channel each way",
        by: By::Here(with_tokio::run),
    },
    Subject {
        name: "wake-eventfd",
        what: "a bare eventfd each way",
        by: By::Here(with_eventfd::run),
    },
    Subject {
        name: "wake-thence",
        what: "thence, `Handle::call`, parked",
        by: By::Here(with_thence::parked),
    },
    Subject {
        name: "wake-thence-spin",
        what: "the same, spinning up to 50 us",
        by: By::Here(with_thence::spinning),
    },
];

/// The places of the peer and of our own.
pub const TOKIO: usize = 0;
pub const PARKED: usize = 2;
pub const SPINNING: usize = 3;

/// Round trips, and as many before them that do not count.
const TRIPS: u32 = 10_000;
const WARM_UP: u32 = 1_000;

/// Keeps this thread on one of two cores. On a machine with one, both stay where they are.
fn on_core(core: usize) {
    let _ = cpu::pin(core);
}
