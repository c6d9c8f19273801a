//! The control: the same shapes, wired right, compile.
use thence::prelude::*;

fn one(value: i32) -> i32 {
    value * 2
}

fn main() {
    let (trigger, d) = Deferred::new();
    d.map(one).recover(|_failure| 0).done(|value| println!("{value}"));
    trigger.fire(1);
}
