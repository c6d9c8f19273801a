//! Receiving and sending datagrams.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    marker::PhantomData,
};

use thence_reactor::driver::{Address, Done, Key, Op, Socket, is_cancelled};

use super::{
    poll::Pollable,
    subject::{Resets, Subject},
};
use crate::{bench::Bench, count::counted, sockets::Datagrams};

pub struct RecvFrom<D> {
    ours: Option<Socket>,
    peer: Socket,
    to: Option<Address>,
    provided: usize,
    taken: usize,
    family: PhantomData<D>,
}

impl<D: Datagrams> Subject for RecvFrom<D> {
    fn open(bench: &mut Bench) -> Self {
        let (ours, peer, to) = D::ends(bench);
        RecvFrom { ours: Some(ours), peer, to, provided: 0, taken: 0, family: PhantomData }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        bench.submit(Op::RecvFrom { socket: self.socket(), max: 100 })
    }

    fn provide(&mut self, bench: &mut Bench) {
        let key = send_to(bench, &self.peer, self.provided.to_string(), &self.to);
        bench.done(key);
        self.provided += 1;
    }

    fn took(&mut self, _: &mut Bench, _: Key, done: Done) {
        let Done::ReceivedFrom(bytes, from) = done else { panic!("{done:?}") };
        assert_eq!(bytes, self.taken.to_string(), "whole, and in order");
        assert_eq!(from, self.peer.local_addr().unwrap());
        self.taken += 1;
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        while self.taken < self.provided {
            let key = self.start(bench);
            let done = bench.done(key);
            self.took(bench, key, done);
        }
        let none = self.start(bench);
        bench.assert_pending(none);
        bench.take_back(none);
    }

    fn let_go(&mut self) {
        self.ours = None;
    }
}

impl<D: Datagrams> Pollable for RecvFrom<D> {
    const WRITES: bool = false;

    fn socket(&self) -> Socket {
        self.ours.clone().expect("it is held")
    }
}

/// To a socket that has no room for more, where a sender waits for that.
pub struct SendTo<D> {
    ours: Option<Socket>,
    peer: Option<Socket>,
    to: Option<Address>,
    /// How many were sent to begin with.
    filled: usize,
    started: HashMap<Key, String>,
    sent: Vec<String>,
    arrived: Vec<String>,
    family: PhantomData<D>,
}

impl<D: Datagrams> SendTo<D> {
    fn receive_until(&mut self, bench: &mut Bench, len: usize) {
        let peer = self.peer.clone().expect("it is open");
        while self.arrived.len() < len {
            let key = bench.submit(Op::RecvFrom { socket: peer.clone(), max: 100 });
            let Done::ReceivedFrom(bytes, _) = bench.done(key) else { panic!("receives") };
            self.arrived.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
}

impl<D: Datagrams> Subject for SendTo<D> {
    fn open(bench: &mut Bench) -> Self {
        let (peer, ours, to) = D::ends(bench);
        // One that is connected waits; what is sent to an address never does.
        let filled = if to.is_none() { fill(bench, &ours) } else { 0 };
        SendTo {
            ours: Some(ours),
            peer: Some(peer),
            to,
            filled,
            started: HashMap::new(),
            sent: Vec::new(),
            arrived: Vec::new(),
            family: PhantomData,
        }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        let text = format!("number {}", self.started.len() + self.sent.len());
        let key = send_to(bench, &self.socket(), text.clone(), &self.to);
        self.started.insert(key, text);
        key
    }

    fn provide(&mut self, bench: &mut Bench) {
        self.receive_until(bench, self.filled);
    }

    fn took(&mut self, _: &mut Bench, key: Key, done: Done) {
        let text = self.started.remove(&key).expect("it was started");
        assert!(matches!(done, Done::Sent(n) if n == text.len()), "whole or not at all: {done:?}");
        self.sent.push(text);
    }

    fn was_cut(&mut self, key: Key) {
        self.started.remove(&key);
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        self.receive_until(bench, self.filled + self.sent.len());
        assert!(self.arrived[..self.filled].iter().all(|text| text == FILLER));
        assert_eq!(self.arrived[self.filled..], self.sent);
        let peer = self.peer.clone().expect("it is open");
        let none = bench.submit(Op::RecvFrom { socket: peer, max: 100 });
        bench.assert_pending(none);
        bench.take_back(none);
    }

    fn let_go(&mut self) {
        self.ours = None;
    }
}

impl<D: Datagrams> Resets for SendTo<D> {
    /// Whoever would receive it is gone.
    fn reset(&mut self, _: &mut Bench) {
        self.peer = None;
    }

    fn was_reset(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        match result {
            // It was out before that.
            Ok(done) if self.to.is_some() => self.took(bench, key, done),
            other => assert_gone(other),
        }
        let late = self.start(bench);
        assert_gone(bench.end(late));
    }
}

impl<D: Datagrams> Pollable for SendTo<D> {
    const WRITES: bool = true;

    fn socket(&self) -> Socket {
        self.ours.clone().expect("it is held")
    }
}

fn assert_gone(result: io::Result<Done>) {
    let gone = [ErrorKind::ConnectionRefused, ErrorKind::NotConnected, ErrorKind::ConnectionReset];
    let kind = result.unwrap_err().kind();
    assert!(gone.contains(&kind), "{kind}");
}

fn send_to(bench: &mut Bench, from: &Socket, text: String, to: &Option<Address>) -> Key {
    bench.submit(Op::SendTo { socket: from.clone(), bytes: counted(text), to: to.clone() })
}

/// Sends until there is no room, and says how many went.
fn fill(bench: &mut Bench, socket: &Socket) -> usize {
    for filled in 0..10_000 {
        let key = send_to(bench, socket, FILLER.into(), &None);
        bench.settle();
        bench.cancel(key);
        match bench.end(key) {
            Ok(_) => {}
            Err(error) if is_cancelled(&error) => return filled,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("there is always room");
}

const FILLER: &str = "filler";
