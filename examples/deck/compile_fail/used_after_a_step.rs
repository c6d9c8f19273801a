//! `d.addCallback(f)` changes `d`; a step consumes it and gives another.
// says: A Deferred has one consumer: go on with what this gives.
use thence::prelude::*;

fn main() {
    let (trigger, d) = Deferred::<i32>::new();
    d.map(|value| value * 2).report();
    d.map(|value| println!("{value}")).report(); //~ E0382
    trigger.fire(1);
}
