//! `inlineCallbacks` on a plain function, or a coroutine that is none.
// plain: a closure where a future has to be
use thence::prelude::*;

fn main() {
    flow(|| Ok::<i32, Failure>(5)).report(); //~ E0277
}
