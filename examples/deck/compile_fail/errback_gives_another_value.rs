//! An errback that succeeds with something else than what is waited for.
// says: An error handler gives a value of the type that was awaited.
use thence::prelude::*;

fn main() {
    let d: Deferred<i32> = offload(|| Ok(42));
    d.or_else(|failure| Ok::<_, Failure>(failure.to_string())).report(); //~ E0271
}
