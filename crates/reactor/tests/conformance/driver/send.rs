//! Sending on a stream that is full.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    marker::PhantomData,
    net::Shutdown,
};

use bytes::BytesMut;
use thence_reactor::driver::{Done, Key, Socket};

use super::{
    poll::Pollable,
    subject::{Finishes, Resets, ShutsDown, Subject},
};
use crate::{
    bench::{Bench, pattern},
    sockets::Streams,
};

pub struct Send<F> {
    ours: Option<Socket>,
    peer: Option<Socket>,
    /// How much of the pattern was sent to begin with.
    filled: usize,
    /// What was started and has not ended.
    started: HashMap<Key, Vec<u8>>,
    /// What has left after that, and all that has arrived.
    sent: Vec<u8>,
    arrived: BytesMut,
    family: PhantomData<F>,
}

impl<F> Send<F> {
    fn ours(&self) -> Socket {
        self.ours.clone().expect("it is held")
    }

    fn receive_until(&mut self, bench: &mut Bench, len: usize) {
        let peer = self.peer.clone().expect("it is open");
        while self.arrived.len() < len {
            let bytes = bench.received(&peer, usize::MAX);
            assert!(!bytes.is_empty(), "no end was said");
            self.arrived.extend_from_slice(&bytes);
        }
    }

    fn assert_broken(&mut self, bench: &mut Bench, result: io::Result<Done>) {
        let broken = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(broken.contains(&result.unwrap_err().kind()));
        let ours = self.ours();
        let key = bench.send(&ours, "more");
        assert_eq!(bench.end(key).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

impl<F: Streams> Subject for Send<F> {
    fn open(bench: &mut Bench) -> Self {
        let (peer, ours) = F::ends(bench);
        let filled = bench.fill(&ours);
        Send {
            ours: Some(ours),
            peer: Some(peer),
            filled,
            started: HashMap::new(),
            sent: Vec::new(),
            arrived: BytesMut::new(),
            family: PhantomData,
        }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        let ours = self.ours();
        let bytes = format!("{:?} ", self.started.len() + self.sent.len()).into_bytes();
        let key = bench.send(&ours, bytes.clone());
        self.started.insert(key, bytes);
        key
    }

    fn provide(&mut self, bench: &mut Bench) {
        self.receive_until(bench, self.filled);
    }

    fn took(&mut self, _: &mut Bench, key: Key, done: Done) {
        let Done::Sent(n) = done else { panic!("{done:?}") };
        self.sent.extend_from_slice(&self.started.remove(&key).expect("it was started")[..n]);
    }

    fn was_cut(&mut self, key: Key) {
        self.started.remove(&key);
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        self.receive_until(bench, self.filled + self.sent.len());
        assert!(self.arrived[..self.filled] == pattern()[..self.filled]);
        assert_eq!(self.arrived[self.filled..], self.sent);
        if let Some(peer) = self.peer.clone() {
            bench.assert_silent(&peer);
        }
    }

    fn let_go(&mut self) {
        self.ours = None;
    }
}

impl<F: Streams> Finishes for Send<F> {
    /// It says that it will send nothing, which ends nothing here, and reads on.
    fn finish(&mut self, bench: &mut Bench) {
        F::finish(&mut self.peer);
        bench.settle();
        assert_eq!(bench.unseen(), 0, "half a connection is a connection");
        self.provide(bench);
    }

    fn finished(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        self.took(bench, key, result.unwrap());
        self.check_rest(bench);
    }
}

impl<F: Streams> Resets for Send<F> {
    /// With all of it unread.
    fn reset(&mut self, _: &mut Bench) {
        self.peer = None;
    }

    fn was_reset(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        self.assert_broken(bench, result);
    }
}

impl<F: Streams> ShutsDown for Send<F> {
    fn shut_down(&mut self) {
        self.ours().shutdown(Shutdown::Both).unwrap();
    }

    fn was_shut_down(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        self.assert_broken(bench, result);
    }
}

impl<F: Streams> Pollable for Send<F> {
    const WRITES: bool = true;

    fn socket(&self) -> Socket {
        self.ours()
    }
}
