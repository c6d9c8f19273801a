//! One thing to be measured.

use crate::worker::Program;

/// A piece of work that can be done any number of times in a row.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// How the command line calls it.
    pub name: &'static str,
    /// How the table calls it.
    pub what: &'static str,
    pub by: By,
    /// How many times make a slice: some milliseconds, or the whole depth of a loop.
    pub slice: u64,
    /// The two sizes at which instructions are counted.
    pub sizes: (u64, u64),
}

/// Who does a work. For a loop a time is a level, and it is as deep as it is long.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// This process, so many times.
    Here(fn(u64)),
    /// A program in another language, which has a name of its own for it.
    There(&'static Program, &'static str),
}

impl Work {
    /// Work of about a hundred nanoseconds, to be repeated.
    pub const fn repeated(name: &'static str, what: &'static str, run: fn(u64)) -> Self {
        Self { name, what, by: By::Here(run), slice: 50_000, sizes: (2_000, 12_000) }
    }

    /// A loop a million levels deep.
    pub const fn million(name: &'static str, what: &'static str, run: fn(u64)) -> Self {
        Self { name, what, by: By::Here(run), slice: 1_000_000, sizes: (20_000, 120_000) }
    }

    /// Work of another language's program, its size to be adapted.
    pub const fn there(
        name: &'static str,
        what: &'static str,
        program: &'static Program,
        theirs: &'static str,
    ) -> Self {
        Self { name, what, by: By::There(program, theirs), slice: 1, sizes: (1, 2) }
    }
}
