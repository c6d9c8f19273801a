//! The lifecycle matrix: whatever happens to a Deferred, in whatever state it is.
//!
//! [`TABLE`] says for every event and every state what has to be seen. Each cell runs for every
//! kind of node that can be there ([`kinds`]), and all of them have to show the same: what is
//! promised of a Deferred does not depend on what stands behind it.

mod case;
#[path = "../common/mod.rs"]
mod common;
mod events;
mod kinds;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use case::{Case, STATES, Seen, State};
use common::checked;
use events::{EVENTS, Event};
use kinds::{KINDS, Kind};

/// What is to be seen. `/` is as above.
///
/// * **state**: where the Deferred's source is when the event comes. `pending` is looked at once
///   more after its producer fired 7 (`then fired`). `fired` has the value 7, `failed` the failure
///   `no`, `stopped` lost its trigger.
/// * **ran**: the producer's hooks and everybody's callbacks, in order.
/// * **waiter**: what whoever waits is told; `-` if nothing.
/// * **reported**: what the failure hook is told.
/// * **value**: what became of the 7: `taken` by a waiter, `back` with its source, `dropped`.
///   `(back)` is back where the kind hands the very value on, and dropped where a callback of its
///   own had taken it.
const TABLE: &str = "
 event                          | state      | ran                  | waiter         | reported       | value
 attached                       | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
 attached before the end        | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
 dropped                        | pending    |                      | -              |                |
 /                              | then fired |                      | -              |                | (back)
 /                              | fired      |                      | -              |                | (back)
 /                              | failed     |                      | -              | no             |
 /                              | stopped    |                      | -              | lost           |
 dropped before the end         | pending    |                      | -              |                |
 /                              | then fired |                      | -              |                | (back)
 /                              | fired      |                      | -              |                | (back)
 /                              | failed     |                      | -              | no             |
 /                              | stopped    |                      | -              | lost           |
 dropped with a step attached   | pending    |                      | -              |                |
 /                              | then fired | step                 | -              |                | (back)
 /                              | fired      | step                 | -              |                | (back)
 /                              | failed     |                      | -              | no             |
 /                              | stopped    |                      | -              | lost           |
 left                           | pending    |                      | -              |                |
 /                              | then fired |                      | -              |                | (back)
 /                              | fired      |                      | -              |                | (back)
 /                              | failed     |                      | -              | no             |
 /                              | stopped    |                      | -              | lost           |
 left before the end            | pending    |                      | -              |                |
 /                              | then fired |                      | -              |                | (back)
 /                              | fired      |                      | -              |                | (back)
 /                              | failed     |                      | -              | no             |
 /                              | stopped    |                      | -              | lost           |
 cancelled before, has a hook   | pending    | hook                 | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | hook, waiter         | ok 7           |                | taken
 /                              | failed     | hook, waiter         | err no         |                |
 /                              | stopped    | hook, waiter         | cancelled      |                |
 cancelled before, has none     | pending    | waiter               | cancelled      |                |
 /                              | then fired |                      | -              |                | back
 /                              | fired      | waiter               | cancelled      |                | back
 /                              | failed     | waiter               | cancelled      |                |
 /                              | stopped    | waiter               | cancelled      |                |
 cancelled before, then dropped | pending    | hook                 | -              |                |
 /                              | then fired |                      | -              |                | (back)
 /                              | fired      | hook                 | -              |                | (back)
 /                              | failed     | hook                 | -              | no             |
 /                              | stopped    | hook                 | -              |                |
 cancelled after                | pending    | hook                 | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
 fired inside a callback        | pending    | begins, ends         | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | begins, ends, waiter | ok 7           |                | taken
 /                              | failed     | begins, ends, waiter | err no         |                |
 /                              | stopped    | begins, ends, waiter | lost           |                |
 fired inside, attached before  | pending    | begins, ends         | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | begins, ends, waiter | ok 7           |                | taken
 /                              | failed     | begins, ends, waiter | err no         |                |
 /                              | stopped    | begins, ends, waiter | lost           |                |
 fired from another thread      | pending    | away                 | -              |                |
 /                              | then fired | away, home, waiter   | ok 7           |                | taken
 /                              | fired      | away, home, waiter   | ok 7           |                | taken
 /                              | failed     | away, home, waiter   | err no         |                |
 /                              | stopped    | away, home, waiter   | lost           |                |
 panicking callback             | pending    |                      | -              |                |
 /                              | then fired | step, waiter         | panicked: here |                | dropped
 /                              | fired      | step, waiter         | panicked: here |                | dropped
 /                              | failed     | step, waiter         | panicked: here |                |
 /                              | stopped    | step, waiter         | panicked: here |                |
 panicking callback, left       | pending    |                      | -              |                |
 /                              | then fired | step                 | -              | panicked: here | dropped
 /                              | fired      | step                 | -              | panicked: here | dropped
 /                              | failed     | step                 | -              | panicked: here |
 /                              | stopped    | step                 | -              | panicked: here |
 panicking drop of closures     | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           | bomb           | taken
 /                              | fired      | waiter               | ok 7           | bomb           | taken
 /                              | failed     | waiter               | err no         | bomb           |
 /                              | stopped    | waiter               | lost           | bomb, bomb     |
 panicking drop of the end      | pending    |                      | -              |                |
 /                              | then fired |                      | -              | bomb           | (back)
 /                              | fired      |                      | -              | bomb           | (back)
 /                              | failed     |                      | -              | no, bomb       |
 /                              | stopped    |                      | -              | lost           |
 told, cancels itself           | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
 told, is attached              | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
 told, is dropped               | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     |                      | -              | no             |
 /                              | stopped    | waiter               | lost           |                |
 told, panics                   | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         | told           |
 /                              | stopped    | waiter               | lost           |                |
 told, cancels, attached before | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | waiter               | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
 extended as a step is dropped  | pending    |                      | -              |                |
 /                              | then fired | waiter               | ok 7           |                | taken
 /                              | fired      | waiter               | ok 7           |                | taken
 /                              | failed     | step, waiter         | err no         |                |
 /                              | stopped    | waiter               | lost           |                |
";

#[test]
fn every_kind_of_node_shows_what_the_table_says() {
    let table = table();
    let mut wrong = String::new();
    for event in &EVENTS {
        for (kind, state) in KINDS.iter().flat_map(|kind| STATES.map(|state| (kind, state))) {
            if !kind.can_be(state, event) {
                continue;
            }
            for (state, seen) in run(kind, event, state) {
                let mut expected = table[&(event.name, state)].clone();
                if expected.value == "(back)" {
                    expected.value = if kind.hands_on { "back" } else { "dropped" }.to_owned();
                }
                if seen != expected {
                    writeln!(
                        wrong,
                        "{}, {}, {state}:\n  expected {expected}\n  seen     {seen}",
                        kind.name, event.name
                    )
                    .expect("a string takes anything");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "ran | waiter | reported | value\n{wrong}");
}

#[test]
fn the_table_has_every_event_in_every_state() {
    let table = table();
    let states = STATES.iter().map(|state| state.name()).chain(["then fired"]);
    let cells: Vec<_> = states
        .flat_map(|state| EVENTS.iter().map(move |event| (event.name, state)))
        .filter(|cell| !table.contains_key(cell))
        .collect();
    assert!(cells.is_empty(), "the table lacks {cells:?}");
    assert_eq!(table.len(), EVENTS.len() * (STATES.len() + 1), "the table has more than there is");
}

/// Runs a cell on a thread of its own; nothing of it may be left.
fn run(kind: &'static Kind, event: &'static Event, state: State) -> Vec<(&'static str, Seen)> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    checked(move |reports| *told.lock().unwrap() = Case::run(kind, event, state, &reports));
    std::mem::take(&mut *seen.lock().unwrap())
}

fn table() -> HashMap<(&'static str, &'static str), Seen> {
    let mut event = "";
    let mut table = HashMap::new();
    for row in TABLE.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [named, state, ran, waiter, reported, value] = cells[..] else {
            panic!("a row has six columns: {row}")
        };
        if named != "/" {
            event = named;
        }
        let [ran, waiter, reported, value] = [ran, waiter, reported, value].map(str::to_owned);
        let before = table.insert((event, state), Seen { ran, waiter, reported, value });
        assert!(before.is_none(), "{event}, {state} stands there twice");
    }
    table
}
