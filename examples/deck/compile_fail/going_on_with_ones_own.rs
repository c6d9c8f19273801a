//! What looks like a Deferred is none: a step goes on with a `Result` or a `Deferred`, and nothing else.
// says: only a `Result` and a `Deferred` are what a step may go on with
use thence::IntoDeferred;
use thence::prelude::*;

struct Later(Deferred<i32>);

impl IntoDeferred for Later { //~ E0277
    type Value = i32;
    type Error = Failure;
}

fn main() {
    Later(Deferred::ok(1)).0.report();
}
