//! One inner Deferred returned to two outer ones: the second silently gets `None`.
// plain: closures that both capture a value
use thence::prelude::*;

fn main() {
    let (_trigger, inner) = Deferred::<i32>::new();
    Deferred::ok(1).and_then(move |_: i32| inner).report();
    Deferred::ok(2).and_then(move |_: i32| inner).report(); //~ E0382
}
