//! What an event handler gives goes nowhere, so it is nothing, or how it went.
// says: an event handler returns `()`, `Result<(), Failure>` or a `Deferred<(), _>`, not `u32`
use thence::prelude::*;

struct Beep {
    times: u32,
}

fn main() {
    on(|beep: &Beep| beep.times + 1); //~ E0277
    emit(Beep { times: 2 });
}
