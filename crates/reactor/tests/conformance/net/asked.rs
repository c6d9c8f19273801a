//! A Deferred, and what can be done to it.

use thence_core::{Deferred, Failure, Outcome};

use crate::stage::Stage;

/// One way to ask for a Deferred, with an account of what was provided for it and what it gave.
pub trait Asked: Sized {
    type Value: 'static;

    /// Opens what it asks, with nothing there.
    fn open(stage: &mut Stage) -> Self;

    fn ask(&mut self) -> Deferred<Self::Value>;

    /// Asks when its reactor is gone, where that is no panic.
    fn ask_late(&mut self) -> Option<Deferred<Self::Value>> {
        Some(self.ask())
    }

    /// Makes it possible that one ends.
    fn provide(&mut self, stage: &mut Stage);

    /// One ended with this.
    fn took(&mut self, stage: &mut Stage, value: Self::Value);

    /// One was cancelled, or left, and nobody knows how far it came.
    fn quit(&mut self, how: Quit);

    /// What was provided and not given is still there for the next, in order, and nothing else.
    fn check_rest(&mut self, stage: &mut Stage);

    /// The peer says that it will send nothing more.
    fn finish(&mut self, stage: &mut Stage);

    fn finished(&mut self, stage: &mut Stage, outcome: Outcome<Self::Value>);

    /// The peer breaks the connection.
    fn reset(&mut self, stage: &mut Stage);

    fn was_reset(&mut self, stage: &mut Stage, outcome: Outcome<Self::Value>);

    /// Drops the stream or the listener.
    fn let_go(&mut self);

    /// Aborts or closes it.
    fn abort(&mut self);

    fn was_aborted(&mut self, outcome: Outcome<Self::Value>);

    /// It ended, or was cancelled and told so.
    fn ended(&mut self, stage: &mut Stage, outcome: Outcome<Self::Value>) {
        match outcome {
            Outcome::Ok(value) => self.took(stage, value),
            Outcome::Err(failure) => panic!("{failure:?}"),
            outcome => {
                assert!(outcome.is_cancelled());
                self.quit(Quit::Cancelled);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Quit {
    Cancelled,
    Left,
}

/// The kind of the I/O error it ended with.
#[track_caller]
pub fn kind<T>(outcome: Outcome<T>) -> std::io::ErrorKind {
    match outcome {
        Outcome::Err(failure) => kind_of(&failure),
        Outcome::Ok(_) => panic!("a value"),
        Outcome::Stop(stop) => panic!("stopped: {stop}"),
    }
}

#[track_caller]
pub fn kind_of(failure: &Failure) -> std::io::ErrorKind {
    failure.downcast_ref::<std::io::Error>().expect("an I/O error").kind()
}
