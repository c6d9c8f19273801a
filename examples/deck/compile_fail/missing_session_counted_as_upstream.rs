//! The slide sends a missing session down the errback of the upstream request. With an error type of one's own
//! each way to fail is a case, and a case nobody thought of does not compile.
// plain: a match on the program's own enum
use thence::prelude::*;

enum Refused {
    NoSession,
    Upstream,
}

fn status(refused: &Refused) -> u16 {
    match refused {
        //~^ E0004
        Refused::Upstream => 502,
    }
}

fn main() {
    println!("{}", status(&Refused::NoSession));
    println!("{}", status(&Refused::Upstream));
    Deferred::<i32>::ok(1).report();
}
