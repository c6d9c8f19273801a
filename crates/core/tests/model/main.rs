//! Random programs on thence-core and on a reference that is obviously right: the same callbacks in
//! the same order with the same things seen, the same outcomes, the same reports, and nothing left.
//! The programs' types are hostile: what core drops, makes, clones or tells may fire, cancel, leave,
//! attach, start or panic there.
//!
//! `THENCE_MODEL_CASES` says how many programs, `THENCE_MODEL_SEED` from which seed, and
//! `THENCE_MODEL_WORDS` runs one program alone.

mod allocations;
mod check;
mod event;
mod hands;
mod program;
mod real;
mod reference;

use proptest::prelude::{any, prop};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::check::check;

/// Under AddressSanitizer a case takes ten times as long.
const CASES: u32 = if cfg!(thence_no_free_list) { 10_000 } else { 100_000 };

#[test]
fn random_programs_do_what_the_reference_does() {
    if let Ok(text) = std::env::var("THENCE_MODEL_WORDS") {
        let words = program::words(&bytes(&text));
        if let Err(difference) = check(&words) {
            panic!("{difference}");
        }
        return;
    }
    let seed = number("THENCE_MODEL_SEED").unwrap_or(1);
    let cases = number("THENCE_MODEL_CASES")
        .map_or(CASES, |cases| u32::try_from(cases).expect("THENCE_MODEL_CASES fits 32 bits"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let words = prop::collection::vec(any::<[u8; 4]>(), 0..MOST_WORDS);
    let ran = runner.run(&words, |words| check(&words).map_err(TestCaseError::fail));
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(reason, words)) => {
            let hex: String = words.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
            panic!(
                "{reason}\n\nThis program alone:\n  THENCE_MODEL_WORDS={hex} cargo test -p \
                 thence-core --test model\nThis seed: THENCE_MODEL_SEED={seed}"
            );
        }
        Err(other) => panic!("{other}"),
    }
}

/// Long enough for a few chains to meet, short enough to be read.
const MOST_WORDS: usize = 48;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("THENCE_MODEL_WORDS is hex");
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| pair.iter().fold(0, |sum, byte| sum * 16 + digit(*byte)))
        .map(|byte| u8::try_from(byte).expect("two digits"))
        .collect()
}
