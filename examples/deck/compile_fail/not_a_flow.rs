//! `inlineCallbacks` on a plain function, or a coroutine that is none.
use thence::prelude::*;

fn main() {
    flow(|| Ok::<i32, Failure>(5)).report(); //~ E0277
}
