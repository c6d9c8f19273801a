//! Slide "Multiple Event Types": every type has its own handlers, run in the order they were added.
//!
//! The slide looks its handlers up under a name, `event_type`, that nothing binds. Here the type of the
//! value is the type of the event, and a name nobody binds does not compile.

use thence::prelude::*;

struct Opened;
struct Closed;

fn main() {
    on(|_: &Opened| println!("opened: count it"));
    on(|_: &Opened| println!("opened: greet"));
    on(|_: &Closed| println!("closed: say goodbye"));

    emit(Opened);
    emit(Closed);
}
