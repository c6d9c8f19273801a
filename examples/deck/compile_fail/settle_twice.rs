//! `d1.chainDeferred(d2)` for a `d2` that has fired: `AlreadyCalledError` becomes the failure of `d1`.
// says: A Deferred ends once: this uses its trigger up.
use thence::prelude::*;

fn main() {
    let (second, e) = Deferred::<i32>::new();
    e.report();
    second.fire(1);
    Deferred::<i32>::ok(2).settled().done(|outcome| second.settle(outcome)); //~ E0382
}
