//! A chain whose last word is a success callback, with a failure still on its way.
// says: `.recover(|error| ..)` makes it a value
use thence::prelude::*;

fn main() {
    offload(|| Ok(42)).done(|value: i32| println!("{value}")); //~ E0277
}
