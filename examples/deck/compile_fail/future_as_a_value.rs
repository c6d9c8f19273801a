//! `maybeDeferred` of a function that gives a foreign future: the future itself is the value.
// says: returns a `Result` or a `Deferred`
use thence::prelude::*;

fn main() {
    let d: Deferred<i32> = Deferred::attempt(|| async { Ok(5) }); //~ E0277
    d.report();
}
