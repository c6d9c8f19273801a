//! `inlineCallbacks` on a plain function, or a coroutine that is none.
// says: write `async move { .. Ok(value) }`
use thence::prelude::*;

fn main() {
    flow(|| Ok::<i32, Failure>(5)).report(); //~ E0277
}
