//! One program on both, compared. The fuzz target uses this very file.

use std::fmt::Write;

use thence_core::{hosting, set_failure_hook};

use crate::event::Event;
use crate::program::{Listing, Op};
use crate::{allocations, program, real, reference};

/// Says how thence-core and the reference differ on this program, or what is left of it.
pub fn check(words: &[[u8; 4]]) -> Result<(), String> {
    let program = program::read(words);
    let expected = reference::run(&program);
    let (seen, mut left) = run(&program);
    if seen != expected {
        return Err(difference(&program, &expected, &seen));
    }
    if hosting::live() != hosting::Live::default() {
        return Err(format!("{:?} is left of\n{}", hosting::live(), Listing(&program)));
    }
    if left != 0 {
        // A thread keeps some memory for good, once it has been needed.
        (_, left) = run(&program);
    }
    if left != 0 {
        return Err(format!("{left} allocations are left of\n{}", Listing(&program)));
    }
    Ok(())
}

/// What happened, and how many allocations are left.
fn run(program: &[Op]) -> (Vec<Event>, usize) {
    let hook = set_failure_hook(real::reported);
    let before = allocations::live();
    let seen = real::run(program);
    let of_seen = usize::from(seen.capacity() > 0);
    let left = allocations::live().wrapping_sub(before + of_seen);
    thence_core::restore_failure_hook(hook);
    (seen, left)
}

fn difference(program: &[Op], expected: &[Event], seen: &[Event]) -> String {
    let mut text = format!("thence-core differs from the reference on\n{}", Listing(program));
    let same = expected.iter().zip(seen).take_while(|(a, b)| a == b).count();
    for event in &expected[..same] {
        let _ = writeln!(text, "        both  {event:?}");
    }
    for event in &expected[same..] {
        let _ = writeln!(text, "   reference  {event:?}");
    }
    for event in &seen[same..] {
        let _ = writeln!(text, " thence-core  {event:?}");
    }
    text
}
