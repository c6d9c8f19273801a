//! A library that calls `on_finished` twice gets `AlreadyCalledError` thrown into its own code.
// plain: a boxed `FnOnce`, called twice
use thence::prelude::*;

fn func(on_finished: Box<dyn FnOnce(i32)>) {
    on_finished(5);
    on_finished(6); //~ E0382
}

fn main() {
    Deferred::from_callback(|trigger: Trigger<i32>| func(Box::new(|value| trigger.fire(value))))
        .report();
}
