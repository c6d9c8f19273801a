//! `callback(aDeferred)`: the next callback gets the Deferred itself.
// says: For a Deferred in a Deferred: call `flatten()` first.
use thence::prelude::*;

fn main() {
    let (_trigger, d) = Deferred::<i32>::new();
    d.map(|value| offload(move || Ok(value * 2))).report(); //~ E0283
}
