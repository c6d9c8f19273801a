//! Waiting until something else would end.

use std::io;

use thence_reactor::driver::{Done, Interest, Key, Op, Socket};

use super::subject::{Finishes, Resets, ShutsDown, Subject};
use crate::bench::Bench;

/// A poll of what another operation works on, which takes nothing: whatever was provided is there
/// for the other.
pub struct Polled<S>(S);

/// What can be waited for.
pub trait Pollable: Subject {
    const WRITES: bool;

    fn socket(&self) -> Socket;
}

impl<S: Pollable> Polled<S> {
    /// It said so, and the operation itself then finds out what.
    fn then(
        &mut self,
        bench: &mut Bench,
        result: io::Result<Done>,
        check: fn(&mut S, &mut Bench, Key, io::Result<Done>),
    ) {
        assert!(matches!(result, Ok(Done::Ready)), "{result:?}");
        let key = self.0.start(bench);
        let result = bench.end(key);
        check(&mut self.0, bench, key, result);
    }
}

impl<S: Pollable> Subject for Polled<S> {
    fn open(bench: &mut Bench) -> Self {
        Polled(S::open(bench))
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        let interest = if S::WRITES { Interest::Write } else { Interest::Read };
        bench.submit(Op::Poll { socket: self.0.socket(), interest })
    }

    fn provide(&mut self, bench: &mut Bench) {
        self.0.provide(bench);
    }

    fn took(&mut self, _: &mut Bench, _: Key, done: Done) {
        assert!(matches!(done, Done::Ready), "{done:?}");
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        self.0.check_rest(bench);
    }

    fn let_go(&mut self) {
        self.0.let_go();
    }
}

impl<S: Pollable + Finishes> Finishes for Polled<S> {
    fn finish(&mut self, bench: &mut Bench) {
        self.0.finish(bench);
    }

    fn finished(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        self.then(bench, result, S::finished);
    }
}

impl<S: Pollable + Resets> Resets for Polled<S> {
    fn reset(&mut self, bench: &mut Bench) {
        self.0.reset(bench);
    }

    fn was_reset(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        self.then(bench, result, S::was_reset);
    }
}

impl<S: Pollable + ShutsDown> ShutsDown for Polled<S> {
    fn shut_down(&mut self) {
        self.0.shut_down();
    }

    fn was_shut_down(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        self.then(bench, result, S::was_shut_down);
    }
}
