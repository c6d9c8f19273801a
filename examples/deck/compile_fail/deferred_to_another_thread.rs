//! Waiting on another thread: a Deferred belongs to the thread of its reactor.
// says: Stays on its thread: send `trigger.remote()`.
use thence::prelude::*;

fn main() {
    let (trigger, d) = Deferred::<i32>::new();
    std::thread::spawn(move || d.report()); //~ E0277
    trigger.fire(1);
}
