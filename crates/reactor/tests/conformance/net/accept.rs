//! Accepts.

use thence_core::{Deferred, Outcome};
use thence_reactor::net::Transport;

use super::{
    asked::{Asked, Quit},
    family::Listens,
};
use crate::stage::Stage;

/// Every client says its number, so that it is known whose connection was accepted.
pub struct Accept<F: Listens> {
    listener: Option<F::Listener>,
    addr: F::Addr,
    clients: Vec<Transport>,
    taken: u8,
}

impl<F: Listens> Accept<F> {
    fn listener(&self) -> &F::Listener {
        self.listener.as_ref().expect("it is held")
    }
}

impl<F: Listens> Asked for Accept<F> {
    type Value = (F::Stream, F::From);

    fn open(_: &mut Stage) -> Self {
        let listener = F::listen();
        let addr = F::addr(&listener);
        Accept { listener: Some(listener), addr, clients: Vec::new(), taken: 0 }
    }

    fn ask(&mut self) -> Deferred<Self::Value> {
        F::accept(self.listener())
    }

    fn provide(&mut self, stage: &mut Stage) {
        let client: Transport = stage.ok(F::connect(&self.addr)).into();
        stage.ok(client.write(vec![self.clients.len() as u8]));
        self.clients.push(client);
    }

    fn took(&mut self, stage: &mut Stage, (stream, _): Self::Value) {
        let stream: Transport = stream.into();
        let number = stage.ok(stream.read(10));
        assert_eq!(number, [self.taken][..], "in the order they came");
        self.taken += 1;
    }

    fn quit(&mut self, _: Quit) {}

    fn check_rest(&mut self, stage: &mut Stage) {
        while usize::from(self.taken) < self.clients.len() {
            let accepted = stage.ok(self.ask());
            self.took(stage, accepted);
        }
        let none = self.ask();
        stage.settle();
        assert!(!none.is_ready());
    }

    /// A client that leaves at once was here all the same.
    fn finish(&mut self, stage: &mut Stage) {
        let client: Transport = stage.ok(F::connect(&self.addr)).into();
        stage.ok(client.write("bye"));
    }

    fn finished(&mut self, stage: &mut Stage, outcome: Outcome<Self::Value>) {
        let Outcome::Ok((stream, _)) = outcome else { panic!("accepts") };
        let stream: Transport = stream.into();
        assert_eq!(stage.ok(stream.read_exact(3)), "bye");
        assert_eq!(stage.ok(stream.read(10)), "");
        self.provide(stage);
        self.check_rest(stage);
    }

    fn reset(&mut self, _: &mut Stage) {
        unreachable!("the table has no such cell");
    }

    fn was_reset(&mut self, _: &mut Stage, _: Outcome<Self::Value>) {
        unreachable!("the table has no such cell");
    }

    fn let_go(&mut self) {
        self.listener = None;
    }

    fn abort(&mut self) {
        F::close(self.listener());
    }

    fn was_aborted(&mut self, outcome: Outcome<Self::Value>) {
        assert!(outcome.is_cancelled());
    }
}
