//! The programs, what rustc refuses, and what the documents say.

mod common;
mod documents;
mod programs;
mod refused;
