//! A flow can fail, so it ends in `Ok(value)`.
// says: write `async move { .. Ok(value) }`
use thence::prelude::*;

fn main() {
    flow(async { 42 }).report(); //~ E0271
}
