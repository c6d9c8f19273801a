//! `errback("anything")`: what is to be an error has to be one.
// says: `Refused` cannot be the error of a Deferred
use thence::prelude::*;

struct Refused;

struct Request {
    answer: Deferred<u16, Refused>, //~ E0277
}

fn main() {}
