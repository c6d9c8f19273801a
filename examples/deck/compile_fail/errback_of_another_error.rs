//! An errback for an error that the chain does not have.
// says: `f` takes the error and gives a value in its place.
use thence::prelude::*;

fn main() {
    offload(|| Ok(42))
        .recover(|error: std::io::Error| error.raw_os_error().unwrap_or(0)) //~ E0631
        .done(|value| println!("{value}"));
}
