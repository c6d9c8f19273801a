//! `d.addCallback(5)` is accepted, and fails when it runs.
// plain: a number where a function has to be
use thence::prelude::*;

fn main() {
    let (_trigger, d) = Deferred::<i32>::new();
    d.map::<i32>(5).report(); //~ E0277
}
