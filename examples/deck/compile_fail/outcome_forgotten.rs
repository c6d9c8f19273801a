//! An outcome that nobody looks at.
// says: an outcome may be a failure or a stop; look at it, or it goes unseen
#![deny(unused_must_use)]
use thence::prelude::*;

fn outcome() -> Outcome<i32> {
    Outcome::Ok(42)
}

fn main() {
    outcome(); //~ unused_must_use
}
