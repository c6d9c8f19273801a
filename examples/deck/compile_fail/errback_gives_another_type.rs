//! An errback that gives something else than the callback before it.
// says: `f` takes the error and gives a value in its place.
use thence::prelude::*;

fn explain(failure: Failure) -> String {
    failure.to_string()
}

fn main() {
    offload(|| Ok(42)).recover(explain).done(|value: i32| println!("{value}")); //~ E0271
}
