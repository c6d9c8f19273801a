//! The model test from bytes: every byte string is a program, and thence-core must do with it what
//! the reference does.

#![no_main]

#[path = "../../crates/core/tests/model/allocations.rs"]
mod allocations;
#[path = "../../crates/core/tests/model/check.rs"]
mod check;
#[path = "../../crates/core/tests/model/event.rs"]
mod event;
#[path = "../../crates/core/tests/model/hands.rs"]
mod hands;
#[path = "../../crates/core/tests/model/program.rs"]
mod program;
#[path = "../../crates/core/tests/model/real.rs"]
mod real;
#[path = "../../crates/core/tests/model/reference/mod.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let words = program::words(bytes);
    if let Err(difference) = check::check(&words) {
        let hex: String = words.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
        panic!(
            "{difference}\n\nThis program alone:\n  THENCE_MODEL_WORDS={hex} cargo test -p \
             thence-core --test model"
        );
    }
});
