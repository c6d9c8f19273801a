//! An operation, and what can be done to it.

use std::io;

use thence_reactor::driver::{Done, Key, is_cancelled};

use crate::bench::Bench;

/// One operation on sockets of one kind, with an account of what was provided for it and what it
/// took.
pub trait Subject: Sized {
    /// Opens what it works on, with nothing there for it.
    fn open(bench: &mut Bench) -> Self;

    /// Starts it. Several may be pending.
    fn start(&mut self, bench: &mut Bench) -> Key;

    /// Makes it possible that one ends.
    fn provide(&mut self, bench: &mut Bench);

    /// It ended with this.
    fn took(&mut self, bench: &mut Bench, key: Key, done: Done);

    /// It ended cancelled, and took nothing.
    fn was_cut(&mut self, _: Key) {}

    /// What was provided and not taken is still there, in order, and nothing else.
    fn check_rest(&mut self, bench: &mut Bench);

    /// Lets go of its socket; an operation that is pending has a handle of its own.
    fn let_go(&mut self);

    /// It ended, one way or the other, with nothing wrong.
    fn ended(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        match result {
            Ok(done) => self.took(bench, key, done),
            Err(error) => {
                assert!(is_cancelled(&error), "{error}");
                self.was_cut(key);
            }
        }
    }
}

/// Its peer can end the connection.
pub trait Finishes: Subject {
    fn finish(&mut self, bench: &mut Bench);

    fn finished(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>);
}

/// Its peer can break the connection.
pub trait Resets: Subject {
    fn reset(&mut self, bench: &mut Bench);

    fn was_reset(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>);
}

/// Its socket can be shut down.
pub trait ShutsDown: Subject {
    fn shut_down(&mut self);

    fn was_shut_down(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>);
}
