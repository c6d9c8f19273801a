//! Receiving from a stream.

use std::{
    io::{self, ErrorKind},
    marker::PhantomData,
    net::Shutdown,
};

use thence_reactor::driver::{Done, Key, Socket};

use super::{
    poll::Pollable,
    subject::{Finishes, Resets, ShutsDown, Subject},
};
use crate::{
    bench::{Bench, pattern},
    sockets::Streams,
};

pub struct Recv<F> {
    ours: Option<Socket>,
    peer: Option<Socket>,
    provided: usize,
    taken: usize,
    family: PhantomData<F>,
}

impl<F> Recv<F> {
    fn ours(&self) -> &Socket {
        self.ours.as_ref().expect("it is held")
    }
}

impl<F: Streams> Subject for Recv<F> {
    fn open(bench: &mut Bench) -> Self {
        let (ours, peer) = F::ends(bench);
        Recv { ours: Some(ours), peer: Some(peer), provided: 0, taken: 0, family: PhantomData }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        let ours = self.ours().clone();
        bench.recv(&ours, PIECE)
    }

    fn provide(&mut self, bench: &mut Bench) {
        let peer = self.peer.clone().expect("it is open");
        bench.sent(&peer, &pattern()[self.provided..self.provided + PIECE]);
        self.provided += PIECE;
    }

    fn took(&mut self, _: &mut Bench, _: Key, done: Done) {
        let Done::Received(bytes) = done else { panic!("{done:?}") };
        assert!(!bytes.is_empty(), "no end was said");
        assert_eq!(bytes, pattern()[self.taken..self.taken + bytes.len()]);
        self.taken += bytes.len();
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        while self.taken < self.provided {
            let key = self.start(bench);
            let done = bench.done(key);
            self.took(bench, key, done);
        }
        bench.assert_silent(&self.ours().clone());
    }

    fn let_go(&mut self) {
        self.ours = None;
    }
}

impl<F: Streams> Finishes for Recv<F> {
    fn finish(&mut self, _: &mut Bench) {
        F::finish(&mut self.peer);
    }

    fn finished(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        assert!(matches!(result, Ok(Done::Received(bytes)) if bytes.is_empty()));
        // It stays at its end.
        let ours = self.ours().clone();
        assert_eq!(bench.received(&ours, PIECE), "");
        assert_eq!(bench.received(&ours, PIECE), "");
    }
}

impl<F: Streams> Resets for Recv<F> {
    fn reset(&mut self, bench: &mut Bench) {
        let ours = self.ours().clone();
        bench.sent(&ours, "unread");
        self.peer = None;
    }

    fn was_reset(&mut self, _: &mut Bench, _: Key, result: io::Result<Done>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

impl<F: Streams> ShutsDown for Recv<F> {
    fn shut_down(&mut self) {
        self.ours().shutdown(Shutdown::Both).unwrap();
    }

    fn was_shut_down(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        self.finished(bench, key, result);
    }
}

impl<F: Streams> Pollable for Recv<F> {
    const WRITES: bool = false;

    fn socket(&self) -> Socket {
        self.ours().clone()
    }
}

const PIECE: usize = 7;
