//! `and_then` is for what can fail or takes time; a plain value is `map`.
// says: for a plain value use `map` instead of `and_then`
use thence::prelude::*;

fn main() {
    offload(|| Ok(42)).and_then(|value: i32| value * 2).report(); //~ E0277
}
