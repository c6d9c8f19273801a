//! `d.callback(1)` twice raises `AlreadyCalledError` when it runs.
// says: A Deferred ends once: this uses its trigger up.
use thence::prelude::*;

fn main() {
    let (trigger, d) = Deferred::new();
    d.map(|value: i32| println!("{value}")).report();
    trigger.fire(1);
    trigger.fire(2); //~ E0382
}
