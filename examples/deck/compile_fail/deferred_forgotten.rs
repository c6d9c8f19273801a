//! A Deferred that nobody looks at.
// says: dropping a Deferred stops waiting for it
#![deny(unused_must_use)]
use thence::prelude::*;

fn main() {
    offload(|| Ok(42)); //~ unused_must_use
}
