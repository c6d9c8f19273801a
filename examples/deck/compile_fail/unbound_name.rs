//! `handlers[event_type]`: nothing binds `event_type`.
// plain: a name that nothing binds
use std::collections::HashMap;

struct Event {
    event_type: &'static str,
}

fn main() {
    let handlers: HashMap<&str, Vec<fn()>> = HashMap::new();
    let mut events = vec![Event { event_type: "beep" }];
    while let Some(event) = events.pop() {
        for h in &handlers[event_type] {
            //~^ E0425
            h();
        }
        println!("{}", event.event_type);
    }
}
