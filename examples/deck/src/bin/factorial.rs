//! Slide "More Advanced Deferreds": a callback that returns a Deferred is waited for.
//!
//! The slide's recursion keeps every Deferred of the way alive and fails at a depth of some hundreds.
//! Here the returned Deferred takes over its waiter: a million levels run in constant stack and memory.

use std::thread;

use thence::prelude::*;

fn finished(value: u64) {
    println!("All done! Value is {value}");
}

fn factorial(acc: u64, value: u64) -> Deferred<u64, Never> {
    if value == 1 {
        return Deferred::ok(acc);
    }
    let (trigger, d) = Deferred::infallible();
    let d = d.and_then(move |acc| factorial(acc, value - 1));
    trigger.fire(acc.wrapping_mul(value));
    d
}

fn main() {
    let (trigger, d) = Deferred::infallible();
    d.and_then(|acc| factorial(acc, 5)).done(finished);
    trigger.fire(1);

    let small_stack = thread::Builder::new().stack_size(256 * 1024);
    let deep = small_stack.spawn(|| factorial(1, 1_000_000).done(|_| println!("a million deep")));
    deep.expect("a thread starts").join().expect("the stack is large enough");
}
