//! Connecting.

use std::{
    io::{self, ErrorKind},
    marker::PhantomData,
};

use thence_reactor::driver::{Address, Done, Key, Op, Socket};

use super::subject::{Finishes, Resets, Subject};
use crate::{bench::Bench, sockets::Listens};

/// Every connection that is made says so, so that the listener can tell it from one that was made
/// under a cancelled operation.
pub struct Connect<F> {
    listener: Option<Socket>,
    to: Address,
    made: Vec<Socket>,
    family: PhantomData<F>,
}

impl<F: Listens> Subject for Connect<F> {
    fn open(bench: &mut Bench) -> Self {
        let (listener, to) = F::listen(bench);
        Connect { listener: Some(listener), to, made: Vec::new(), family: PhantomData }
    }

    fn start(&mut self, bench: &mut Bench) -> Key {
        bench.submit(Op::Connect { to: self.to.clone() })
    }

    /// There is nothing to do: the operating system lets it in.
    fn provide(&mut self, _: &mut Bench) {}

    fn took(&mut self, bench: &mut Bench, _: Key, done: Done) {
        let Done::Connected(socket) = done else { panic!("{done:?}") };
        assert_eq!(socket.peer_addr().unwrap(), self.to);
        bench.sent(&socket, "made");
        self.made.push(socket);
    }

    /// Whoever is at the door was made, or has closed.
    fn check_rest(&mut self, bench: &mut Bench) {
        let listener = self.listener.clone().expect("it is held");
        let mut made = 0;
        loop {
            let socket = match bench.accept_now(&listener) {
                Ok(Done::Accepted(socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                other => panic!("{other:?}"),
            };
            match &bench.received(&socket, 10)[..] {
                b"" => {}
                b"made" => made += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(made, self.made.len());
    }

    fn let_go(&mut self) {
        unreachable!("it has no handle to let go of");
    }
}

impl<F: Listens> Finishes for Connect<F> {
    /// The listener closes with the connection in its queue.
    fn finish(&mut self, _: &mut Bench) {
        self.listener = None;
    }

    fn finished(&mut self, bench: &mut Bench, _: Key, result: io::Result<Done>) {
        let Ok(Done::Connected(socket)) = result else { panic!("{result:?}") };
        let key = bench.recv(&socket, 10);
        // A Unix socket has nothing unread there, and so only ends.
        match bench.end(key) {
            Ok(Done::Received(bytes)) => assert_eq!(bytes, ""),
            other => assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }
}

impl<F: Listens> Resets for Connect<F> {
    /// Nobody listens any more.
    fn reset(&mut self, _: &mut Bench) {
        self.listener = None;
    }

    fn was_reset(&mut self, bench: &mut Bench, key: Key, result: io::Result<Done>) {
        self.finished(bench, key, result);
        let late = self.start(bench);
        assert_eq!(bench.end(late).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
