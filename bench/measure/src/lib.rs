//! What the bench groups share: paired rounds, an allocation counter, processor time,
//! instruction counts by callgrind, and the table they end in.
//!
//! The machine drifts by a third between minutes and has neighbours, so no figure of one program
//! is compared with a figure of another run: a subject is timed beside its reference, in slices
//! that alternate, and what is kept is the ratio. Where a finer answer is needed it is instructions
//! and allocations that decide.

pub mod allocations;
pub mod callgrind;
pub mod cpu;
pub mod gate;
pub mod machine;
pub mod process;
pub mod sample;
pub mod table;
