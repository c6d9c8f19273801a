//! Slide "Callbacks can become Deferred": a function that takes a callback, as a Deferred.
//!
//! `on_finished` is a `FnOnce`: calling it a second time does not compile, where the slide's would raise
//! `AlreadyCalledError` inside the library that called it. Never calling it ends the chain as
//! `Stop(Lost)` instead of hanging. `Deferred::from_callback` is this function, ready made.

use thence::prelude::*;

fn exec_with_deferred<T: 'static>(f: impl FnOnce(Box<dyn FnOnce(T)>)) -> Deferred<T> {
    let (trigger, d) = Deferred::new();
    f(Box::new(move |value| trigger.fire(value)));
    d
}

fn func(on_finished: Box<dyn FnOnce(i32)>) {
    // May be a long-running task
    on_finished(5);
}

fn done(value: i32) {
    println!("All done! Value is {value}");
}

fn main() {
    exec_with_deferred(func).map(done).report();

    Deferred::from_callback(|trigger: Trigger<i32>| trigger.fire(5)).map(done).report();
}
