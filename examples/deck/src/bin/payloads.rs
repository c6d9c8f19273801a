//! Slide "Events with Types and Payloads": the fields of the event are its payload.

use thence::prelude::*;

struct Beep {
    times: usize,
    volume: u8,
}

fn main() {
    on(|beep: &Beep| {
        println!("{} at volume {}", "beep ".repeat(beep.times).trim_end(), beep.volume)
    });

    emit(Beep { times: 1, volume: 3 });
    emit(Beep { times: 3, volume: 11 });
}
