//! Accepting connections.

use std::{
    io::{self, ErrorKind},
    marker::PhantomData,
    net::Shutdown,
};

use thence_reactor::driver::{Address, Done, Key, Op, Socket};

use super::{
    poll::Pollable,
    subject::{Finishes, Resets, ShutsDown, Subject},
};
use crate::{bench::Bench, sockets::Listens};

/// Every client says its number first, so that it is known whose connection was accepted.
pub struct Accept<F> {
    listener: Option<Socket>,
    addr: Address,
    clients: Vec<Socket>,
    taken: u8,
    family: PhantomData<F>,
}

impl<F> Accept<F> {
    fn listener(&self) -> Socket {
        self.listener.clone().expect("it is held")
    }
}

impl<F: Listens> Subject for Accept<F> {
    fn open(bench: &mut Bench) -> Self {
        let (listener, addr) = F::listen(bench);
        Accept {
            listener: Some(listener),
            addr,
            clients: Vec::new(),
            taken: 0,
            family: PhantomData,
        }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        bench.accept(&self.listener())
    }

    fn provide(&mut self, bench: &mut Bench) {
        let client = bench.connect(&self.addr);
        bench.sent(&client, [self.clients.len() as u8]);
        self.clients.push(client);
    }

    fn took(&mut self, bench: &mut Bench, _: Key, done: Done) {
        let Done::Accepted(socket, from) = done else { panic!("{done:?}") };
        assert_eq!(from, self.clients[usize::from(self.taken)].local_addr().unwrap());
        assert_eq!(bench.received(&socket, 10), [self.taken][..], "in the order they came");
        self.taken += 1;
    }

    fn check_rest(&mut self, bench: &mut Bench) {
        while usize::from(self.taken) < self.clients.len() {
            let key = self.start(bench);
            let done = bench.done(key);
            self.took(bench, key, done);
        }
        let nobody = bench.accept_now(&self.listener());
        assert_eq!(nobody.unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    fn let_go(&mut self) {
        self.listener = None;
    }
}

impl<F: Listens> Finishes for Accept<F> {
    /// A client that leaves at once was here all the same.
    fn finish(&mut self, bench: &mut Bench) {
        let client = bench.connect(&self.addr);
        bench.sent(&client, "bye");
    }

    fn finished(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        let Ok(Done::Accepted(socket, _)) = result else { panic!("{result:?}") };
        assert_eq!(bench.received(&socket, 10), "bye");
        assert_eq!(bench.received(&socket, 10), "");
        self.provide(bench);
        self.check_rest(bench);
    }
}

impl<F: Listens> Resets for Accept<F> {
    /// Before it was accepted.
    fn reset(&mut self, bench: &mut Bench) {
        bench.outside().connect_and_reset(&self.addr);
    }

    fn was_reset(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        let Ok(Done::Accepted(socket, _)) = result else { panic!("{result:?}") };
        let key = bench.recv(&socket, 10);
        assert_eq!(bench.end(key).unwrap_err().kind(), ErrorKind::ConnectionReset);
        self.provide(bench);
        self.check_rest(bench);
    }
}

impl<F: Listens> ShutsDown for Accept<F> {
    fn shut_down(&mut self) {
        self.listener().shutdown(Shutdown::Both).unwrap();
    }

    fn was_shut_down(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let late = bench.submit(Op::Connect { to: self.addr.clone() });
        assert_eq!(bench.end(late).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

impl<F: Listens> Pollable for Accept<F> {
    const WRITES: bool = false;

    fn socket(&self) -> Socket {
        self.listener()
    }
}
