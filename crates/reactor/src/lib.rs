//! thence.
#![deny(unsafe_code)]

pub mod driver;
mod jobs;
mod timers;
