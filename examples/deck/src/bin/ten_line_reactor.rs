//! Slides "Multiple Event Types" and "Events with Types and Payloads": the reactor just as the deck has
//! it, a `Vec` of events and a map of handlers. No thence in here.
//!
//! It is the deck's to the letter, faults included: `pop` takes the event that came last, nothing else
//! happens while a handler runs, and with no event left there is nothing to wait for. The slide would
//! spin; this one ends.

use std::collections::HashMap;

struct Event {
    event_type: &'static str,
    payload: &'static str,
}

fn run_reactor(events: &mut Vec<Event>, handlers: &HashMap<&str, Vec<fn(&str)>>) {
    while let Some(event) = events.pop() {
        for h in &handlers[event.event_type] {
            h(event.payload);
        }
    }
}

fn main() {
    let mut handlers: HashMap<&str, Vec<fn(&str)>> = HashMap::new();
    handlers.entry("beep").or_default().push(|payload| println!("beep {payload}"));
    handlers.entry("boop").or_default().push(|payload| println!("boop {payload}"));

    let mut events = vec![
        Event { event_type: "beep", payload: "pushed first" },
        Event { event_type: "boop", payload: "pushed second" },
        Event { event_type: "beep", payload: "pushed third" },
    ];
    run_reactor(&mut events, &handlers);
}
