//! Reads.

use std::{io::ErrorKind, marker::PhantomData};

use bytes::Bytes;
use thence_core::{Deferred, Outcome};
use thence_reactor::net::Transport;

use super::{
    asked::{Asked, Quit, kind},
    family::Family,
};
use crate::{bench::pattern, count::counted, stage::Stage};

pub struct Read<F, H> {
    ours: Option<Transport>,
    peer: Option<Transport>,
    provided: usize,
    taken: usize,
    how: PhantomData<(F, H)>,
}

/// How much a read wants.
pub trait How {
    const EXACT: bool;

    fn read(transport: &Transport) -> Deferred<Bytes>;
}

pub struct AtMost;

pub struct Exactly;

impl How for AtMost {
    const EXACT: bool = false;

    fn read(transport: &Transport) -> Deferred<Bytes> {
        transport.read(PIECE)
    }
}

impl How for Exactly {
    const EXACT: bool = true;

    fn read(transport: &Transport) -> Deferred<Bytes> {
        transport.read_exact(PIECE)
    }
}

impl<F, H> Read<F, H> {
    fn ours(&self) -> &Transport {
        self.ours.as_ref().expect("it is held")
    }

    fn send(&mut self, stage: &mut Stage, len: usize) {
        let peer = self.peer.as_ref().expect("it is open");
        let bytes = &pattern()[self.provided..self.provided + len];
        stage.ok(peer.write(counted(bytes)));
        self.provided += len;
    }
}

impl<F: Family, H: How> Asked for Read<F, H> {
    type Value = Bytes;

    fn open(stage: &mut Stage) -> Self {
        let (ours, peer) = F::ends(stage);
        Read { ours: Some(ours), peer: Some(peer), provided: 0, taken: 0, how: PhantomData }
    }

    fn ask(&mut self) -> Deferred<Bytes> {
        H::read(self.ours())
    }

    fn provide(&mut self, stage: &mut Stage) {
        self.send(stage, PIECE);
    }

    fn took(&mut self, _: &mut Stage, bytes: Bytes) {
        assert!(!bytes.is_empty(), "no end was said");
        assert!(!H::EXACT || bytes.len() == PIECE);
        assert_eq!(bytes, pattern()[self.taken..self.taken + bytes.len()]);
        self.taken += bytes.len();
    }

    fn quit(&mut self, _: Quit) {}

    fn check_rest(&mut self, stage: &mut Stage) {
        while self.taken < self.provided {
            let bytes = stage.ok(self.ask());
            self.took(stage, bytes);
        }
        let none = self.ours().read(1);
        stage.settle();
        assert!(!none.is_ready());
    }

    /// For an exact read there is something, and too little.
    fn finish(&mut self, stage: &mut Stage) {
        if H::EXACT {
            self.send(stage, PIECE - 1);
        }
        stage.ok(self.peer.as_ref().expect("it is open").shutdown());
    }

    fn finished(&mut self, stage: &mut Stage, outcome: Outcome<Bytes>) {
        if H::EXACT {
            assert_eq!(kind(outcome), ErrorKind::UnexpectedEof);
            let rest = stage.ok(self.ours().read(100));
            assert_eq!(rest, pattern()[..PIECE - 1], "they stay for other reads");
        } else {
            assert!(matches!(outcome, Outcome::Ok(bytes) if bytes.is_empty()));
        }
        assert_eq!(stage.ok(self.ours().read(100)), "");
        assert_eq!(stage.ok(self.ours().read(100)), "");
    }

    fn reset(&mut self, stage: &mut Stage) {
        stage.ok(self.ours().write("unread"));
        stage.settle();
        self.peer = None;
    }

    fn was_reset(&mut self, stage: &mut Stage, outcome: Outcome<Bytes>) {
        assert_eq!(kind(outcome), ErrorKind::ConnectionReset);
        assert!(stage.err(self.ask()).is::<std::io::Error>(), "it stays broken");
    }

    fn let_go(&mut self) {
        self.ours = None;
    }

    fn abort(&mut self) {
        self.ours().abort();
    }

    fn was_aborted(&mut self, outcome: Outcome<Bytes>) {
        assert_eq!(kind(outcome), ErrorKind::ConnectionAborted);
    }
}

const PIECE: usize = 7;
