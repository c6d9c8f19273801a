//! Slide "Basic Reactor Example": one event, one beep; two events, two beeps.

use thence::prelude::*;

struct Event;

fn beep(_: &Event) {
    println!("beep");
}

fn main() {
    on(beep);

    println!("one event");
    emit(Event);

    println!("two events");
    emit(Event);
    emit(Event);
}
