//! Receiving again and again.

use std::io;

use thence_reactor::driver::{Done, Key, Op, is_cancelled};

use super::{
    poll::Pollable,
    recv::Recv,
    subject::{Finishes, Resets, ShutsDown, Subject},
};
use crate::{bench::Bench, sockets::Streams};

/// A receive that goes on, which is stopped as soon as it has brought something: what is left then
/// is there for others.
pub struct Many<F>(Recv<F>);

impl<F: Streams> Subject for Many<F> {
    fn open(bench: &mut Bench) -> Self {
        Many(Recv::open(bench))
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        bench.submit(Op::RecvMany { socket: self.0.socket() })
    }

    fn provide(&mut self, bench: &mut Bench) {
        self.0.provide(bench);
    }

    fn took(&mut self, bench: &mut Bench, key: Key, done: Done) {
        self.0.took(bench, key, done);
        for more in bench.stop(key) {
            match more {
                Ok(done) => self.0.took(bench, key, done),
                Err(error) => assert!(is_cancelled(&error), "{error}"),
            }
        }
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        self.0.check_rest(bench);
    }

    fn let_go(&mut self) {
        self.0.let_go();
    }
}

impl<F: Streams> Finishes for Many<F> {
    fn finish(&mut self, bench: &mut Bench) {
        self.0.finish(bench);
    }

    fn finished(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        assert!(bench.has_ended(key), "the end of the stream is its last");
        self.0.finished(bench, key, result);
    }
}

impl<F: Streams> Resets for Many<F> {
    fn reset(&mut self, bench: &mut Bench) {
        self.0.reset(bench);
    }

    fn was_reset(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        assert!(bench.has_ended(key), "an error is its last");
        self.0.was_reset(bench, key, result);
    }
}

impl<F: Streams> ShutsDown for Many<F> {
    fn shut_down(&mut self) {
        self.0.shut_down();
    }

    fn was_shut_down(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        assert!(bench.has_ended(key), "the end of the stream is its last");
        self.0.was_shut_down(bench, key, result);
    }
}
