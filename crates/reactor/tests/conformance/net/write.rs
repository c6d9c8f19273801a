//! Writes behind one that fills the connection, and the end of writing.

use std::{io::ErrorKind, marker::PhantomData};

use bytes::BytesMut;
use thence_core::{Deferred, Failure, Outcome};
use thence_reactor::net::Transport;

use super::{
    asked::{Asked, Quit, kind, kind_of},
    family::Family,
};
use crate::{
    bench::pattern,
    common::{Watched, watch},
    count::counted,
    stage::Stage,
};

/// Both ends, and a write of more than the connection holds.
struct Full {
    ours: Option<Transport>,
    peer: Option<Transport>,
    first: Watched<(), Failure>,
    filled: usize,
    arrived: BytesMut,
}

impl Full {
    fn open<F: Family>(stage: &mut Stage) -> Self {
        let (ours, peer) = F::ends(stage);
        let in_memory = stage.reactor().as_fd().is_none();
        let filled = if in_memory { 300_000 } else { F::MORE_THAN_IT_HOLDS };
        let first = watch(ours.write(pattern().slice(..filled)));
        stage.settle();
        assert!(!first.has_ended(), "more went than a connection holds");
        assert!((1..filled).contains(&ours.unsent()), "{} of {filled}", ours.unsent());
        Full { ours: Some(ours), peer: Some(peer), first, filled, arrived: BytesMut::new() }
    }

    fn ours(&self) -> &Transport {
        self.ours.as_ref().expect("it is held")
    }

    fn peer(&self) -> &Transport {
        self.peer.as_ref().expect("it is open")
    }

    /// The peer reads what fills it.
    fn drain(&mut self, stage: &mut Stage) {
        let before = self.ours.as_ref().map(|ours| ours.unsent());
        let is_full = self.arrived.len() < self.filled;
        while self.arrived.len() < self.filled {
            let bytes = stage.ok(self.peer().read(usize::MAX));
            assert!(!bytes.is_empty(), "no end was said");
            self.arrived.extend_from_slice(&bytes);
        }
        let after = self.ours.as_ref().map(|ours| ours.unsent());
        assert!(!is_full || before.is_none() || after < before, "{before:?} {after:?}");
    }

    /// What arrives after that, without waiting for more.
    fn rest(&mut self, stage: &mut Stage) -> Rest {
        self.drain(stage);
        let mut rest = Rest { bytes: self.arrived.split_off(self.filled), ended: false };
        assert!(self.arrived == pattern()[..self.filled]);
        // It is full no more: whatever was to be sent is on its way.
        for _ in 0..100_000 {
            if stage.live().unsent == 0 {
                break;
            }
            stage.turn();
        }
        assert_eq!(stage.live().unsent, 0, "it does not leave");
        loop {
            let next = self.peer().read(usize::MAX);
            stage.settle();
            if !next.is_ready() {
                return rest;
            }
            let bytes = stage.ok(next);
            if bytes.is_empty() {
                rest.ended = true;
                return rest;
            }
            rest.bytes.extend_from_slice(&bytes);
        }
    }

    fn was_broken(&mut self, stage: &mut Stage, outcome: Outcome<()>) {
        let broken = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(broken.contains(&kind(outcome)));
        assert!(self.first.has_ended());
        assert!(broken.contains(&kind_of(&stage.err(self.ours().write("more")))));
    }
}

struct Rest {
    bytes: BytesMut,
    ended: bool,
}

pub struct Write<F> {
    full: Full,
    /// What was written, in order, and what became of it.
    writes: Vec<(Vec<u8>, Fate)>,
    family: PhantomData<F>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    /// Nobody has said yet.
    Asked,
    /// It was cancelled, before anything of it left or after.
    MayLeave,
    Leaves,
}

impl<F> Write<F> {
    /// Says what became of the oldest of which it was not known.
    fn decide(&mut self, fate: Fate) {
        let open = self.writes.iter_mut().find(|(_, fate)| *fate == Fate::Asked);
        open.expect("one was asked").1 = fate;
    }
}

impl<F: Family> Asked for Write<F> {
    type Value = ();

    fn open(stage: &mut Stage) -> Self {
        Write { full: Full::open::<F>(stage), writes: Vec::new(), family: PhantomData }
    }

    fn ask(&mut self) -> Deferred<()> {
        let bytes = format!("({})", self.writes.len()).into_bytes();
        let write = self.full.ours().write(counted(bytes.clone()));
        self.writes.push((bytes, Fate::Asked));
        write
    }

    fn provide(&mut self, stage: &mut Stage) {
        self.full.drain(stage);
    }

    fn took(&mut self, _: &mut Stage, (): ()) {
        self.decide(Fate::Leaves);
    }

    fn quit(&mut self, how: Quit) {
        self.decide(match how {
            Quit::Cancelled => Fate::MayLeave,
            Quit::Left => Fate::Leaves,
        });
    }

    fn check_rest(&mut self, stage: &mut Stage) {
        let rest = self.full.rest(stage);
        assert!(!rest.ended);
        let mut bytes = &rest.bytes[..];
        for (write, fate) in &self.writes {
            match bytes.strip_prefix(&write[..]) {
                Some(more) => bytes = more,
                None => assert_eq!(*fate, Fate::MayLeave, "{write:?} is missing before {bytes:?}"),
            }
        }
        assert!(bytes.is_empty(), "nobody wrote {bytes:?}");
    }

    /// Half a connection is a connection.
    fn finish(&mut self, stage: &mut Stage) {
        stage.ok(self.full.peer().shutdown());
        stage.settle();
        self.provide(stage);
    }

    fn finished(&mut self, stage: &mut Stage, outcome: Outcome<()>) {
        self.ended(stage, outcome);
        self.check_rest(stage);
    }

    fn reset(&mut self, _: &mut Stage) {
        self.full.peer = None;
    }

    fn was_reset(&mut self, stage: &mut Stage, outcome: Outcome<()>) {
        self.full.was_broken(stage, outcome);
    }

    fn let_go(&mut self) {
        self.full.ours = None;
    }

    fn abort(&mut self) {
        self.full.ours().abort();
    }

    fn was_aborted(&mut self, outcome: Outcome<()>) {
        assert_eq!(kind(outcome), ErrorKind::ConnectionAborted);
    }
}

pub struct Shutdown<F> {
    full: Full,
    family: PhantomData<F>,
}

impl<F: Family> Asked for Shutdown<F> {
    type Value = ();

    fn open(stage: &mut Stage) -> Self {
        Shutdown { full: Full::open::<F>(stage), family: PhantomData }
    }

    fn ask(&mut self) -> Deferred<()> {
        self.full.ours().shutdown()
    }

    fn provide(&mut self, stage: &mut Stage) {
        self.full.drain(stage);
    }

    fn took(&mut self, _: &mut Stage, (): ()) {}

    fn quit(&mut self, _: Quit) {}

    /// What was said once is said, whoever left.
    fn check_rest(&mut self, stage: &mut Stage) {
        let rest = self.full.rest(stage);
        assert_eq!(rest.bytes, "");
        assert!(rest.ended);
        let late = stage.err(self.full.ours().write("more"));
        assert_eq!(kind_of(&late), ErrorKind::BrokenPipe);
    }

    fn finish(&mut self, stage: &mut Stage) {
        stage.ok(self.full.peer().shutdown());
        stage.settle();
        self.provide(stage);
    }

    fn finished(&mut self, stage: &mut Stage, outcome: Outcome<()>) {
        self.ended(stage, outcome);
        self.check_rest(stage);
    }

    fn reset(&mut self, _: &mut Stage) {
        self.full.peer = None;
    }

    fn was_reset(&mut self, stage: &mut Stage, outcome: Outcome<()>) {
        self.full.was_broken(stage, outcome);
    }

    fn let_go(&mut self) {
        self.full.ours = None;
    }

    fn abort(&mut self) {
        self.full.ours().abort();
    }

    fn was_aborted(&mut self, outcome: Outcome<()>) {
        assert_eq!(kind(outcome), ErrorKind::ConnectionAborted);
    }
}
