//! An errback that gives a plain value where it may fail again.
// says: the closure of this step returns a `Result` or a `Deferred`, not `i32`
use thence::prelude::*;

fn main() {
    offload(|| Ok(42)).or_else(|_failure| 0_i32).report(); //~ E0277
}
