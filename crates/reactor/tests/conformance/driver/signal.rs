//! Signals, each of which is a byte.

use thence_reactor::driver::{Done, Key, Socket};

use super::subject::Subject;
use crate::bench::Bench;

pub struct Signal {
    socket: Option<Socket>,
    raised: usize,
    taken: usize,
}

impl Subject for Signal {
    fn open(bench: &mut Bench) -> Self {
        let socket = bench.driver().watch_signal(NUMBER).unwrap();
        Signal { socket: Some(socket), raised: 0, taken: 0 }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        let socket = self.socket.clone().expect("it is held");
        bench.recv(&socket, 1)
    }

    fn provide(&mut self, bench: &mut Bench) {
        bench.outside().raise(NUMBER);
        self.raised += 1;
    }

    fn took(&mut self, _: &mut Bench, _: Key, done: Done) {
        assert!(matches!(done, Done::Received(bytes) if bytes.len() == 1));
        self.taken += 1;
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        while self.taken < self.raised {
            let key = self.start(bench);
            let done = bench.done(key);
            self.took(bench, key, done);
        }
        let none = self.start(bench);
        bench.assert_pending(none);
        bench.take_back(none);
    }

    fn let_go(&mut self) {
        self.socket = None;
    }
}

const NUMBER: i32 = signal_hook::consts::SIGUSR2;
