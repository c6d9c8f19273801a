//! Slide "Basic Deferreds": attach what is to be done, then fire.

use thence::prelude::*;

fn one(value: i32) -> i32 {
    value * 2
}

fn two(value: i32) -> i32 {
    value * 3
}

fn done(value: i32) {
    println!("All done! Value is {value}");
}

fn main() {
    let (trigger, d) = Deferred::new();
    d.map(one).map(two).map(done).report();

    trigger.fire(1);
}
