//! Who was turned away for want of room: counted, and said once a second at most.

use std::{
    cell::Cell,
    fmt::Write as _,
    rc::Rc,
    time::{Duration, Instant},
};

use thence::{Deferred, Never, every, http::ServerHandle, now};

/// Counts what the server does when it is full, and says now and then who was turned away.
pub fn watch(door: Rc<Door>, server: ServerHandle) {
    let (shed, waited) = (Cell::new(0), Cell::new(0));
    every(SAY_EVERY, move || {
        door.turned(Turned::Connection, server.shed() - shed.replace(server.shed()));
        door.turned(Turned::Waited, server.waited() - waited.replace(server.waited()));
        door.say();
        Deferred::<(), Never>::ok(())
    });
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// A connection without a session that did nothing was closed to let another in.
    Connection,
    /// A request was told 503.
    Request,
    /// A connection waited outside, since nobody could be closed for it.
    Waited,
}

impl Turned {
    const ALL: [Self; 3] = [Self::Connection, Self::Request, Self::Waited];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Waited => "waited",
        }
    }
}

/// Counts those who were turned away.
#[derive(Debug, Default)]
pub struct Door {
    total: [Cell<u64>; Turned::ALL.len()],
    said: [Cell<u64>; Turned::ALL.len()],
    last: Cell<Option<Instant>>,
}

impl Door {
    /// So many more have been turned away.
    pub fn turned(&self, what: Turned, count: u64) {
        if count == 0 {
            return;
        }
        let total = &self.total[what as usize];
        total.set(total.get() + count);
        self.last.set(Some(now()));
    }

    /// How many there have been, kind by kind.
    pub fn totals(&self) -> impl Iterator<Item = (Turned, u64)> {
        Turned::ALL.into_iter().map(|what| (what, self.total[what as usize].get()))
    }

    /// The counts in Prometheus' text format.
    pub fn render(&self) -> String {
        let name = "thence_gate_turned_away_total";
        let mut page =
            format!("# HELP {name} Those there was no room for.\n# TYPE {name} counter\n");
        for (what, count) in self.totals() {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "{name}{{kind=\"{}\"}} {count}", what.word());
        }
        page
    }

    /// Whether somebody was, moments ago.
    pub fn is_crowded(&self) -> bool {
        self.last.get().is_some_and(|last| now().saturating_duration_since(last) < RECENT)
    }

    /// Says how many were turned away since it was said last, if any were.
    pub fn say(&self) {
        let mut said = String::new();
        for (what, total) in self.totals() {
            let new = total - self.said[what as usize].replace(total);
            if new > 0 {
                let comma = if said.is_empty() { "" } else { ", " };
                // Writing to a String cannot fail.
                let _ = write!(said, "{comma}{}: {new}", what.word());
            }
        }
        if !said.is_empty() {
            tracing::warn!("too many at the door; turned away since the last such line: {said}");
        }
    }
}

const SAY_EVERY: Duration = Duration::from_secs(1);
/// For so long `readyz` says that it was crowded.
const RECENT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use thence::{Reactor, driver::manual::Manual};

    use super::*;

    #[test]
    fn it_is_crowded_for_a_while_after_somebody_was_turned_away() {
        let world = Manual::new();
        let _reactor = Reactor::builder().driver(world.clone()).build().unwrap();
        let door = Door::default();
        door.turned(Turned::Request, 0);
        assert!(!door.is_crowded());
        door.turned(Turned::Request, 3);
        door.turned(Turned::Connection, 1);
        assert!(door.is_crowded());
        assert_eq!(door.totals().map(|(_, count)| count).collect::<Vec<_>>(), [1, 3, 0]);
        world.advance(RECENT);
        assert!(!door.is_crowded());
    }
}
