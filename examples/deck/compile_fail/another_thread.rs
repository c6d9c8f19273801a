//! A trigger is fired on the thread of its reactor; what crosses threads is `trigger.remote()`.
// says: Stays on its thread: send `trigger.remote()`.
use thence::prelude::*;

fn main() {
    let (trigger, _d) = Deferred::<i32>::new();
    std::thread::spawn(move || trigger.fire(1)); //~ E0277
}
