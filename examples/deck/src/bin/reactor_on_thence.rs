//! The deck's reactor on thence: wait for something to happen, do the thing you wanted, repeat.
//!
//! The type of an event is its Rust type, its fields are its payload, and events are handled in the
//! order in which they happened. What happens here is a timer.

use std::time::Duration;

use thence::prelude::*;

struct Beep(&'static str);
struct Boop(&'static str);

fn main() -> Result<(), Failure> {
    on(|beep: &Beep| println!("beep {}", beep.0));
    on(|boop: &Boop| println!("boop {}", boop.0));

    run(async {
        after(Duration::from_millis(1)).await;
        emit(Beep("emitted first"));
        emit(Boop("emitted second"));
        emit(Beep("emitted third"));
        Ok(())
    })
}
