//! A callback that fails with an error of its own in a chain that has another.
// says: Its error stays the same: use `?` or `err_into`.
use thence::prelude::*;

fn main() {
    offload(|| Ok("42")).and_then(|text| text.parse::<i32>()).report(); //~ E0271
}
