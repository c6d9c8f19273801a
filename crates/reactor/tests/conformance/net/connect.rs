//! Connects.

use std::io::ErrorKind;

use thence_core::{Deferred, Outcome};
use thence_reactor::net::Transport;

use super::{
    asked::{Asked, Quit, kind_of},
    family::Listens,
};
use crate::stage::Stage;

/// Every connection that was given says so, so that the listener can tell it from one that was
/// made for somebody who quit.
pub struct Connect<F: Listens> {
    listener: Option<F::Listener>,
    to: F::Addr,
    made: Vec<Transport>,
}

impl<F: Listens> Asked for Connect<F> {
    type Value = F::Stream;

    fn open(_: &mut Stage) -> Self {
        let listener = F::listen();
        let to = F::addr(&listener);
        Connect { listener: Some(listener), to, made: Vec::new() }
    }

    fn ask(&mut self) -> Deferred<F::Stream> {
        F::connect(&self.to)
    }

    fn ask_late(&mut self) -> Option<Deferred<F::Stream>> {
        None
    }

    /// There is nothing to do: the operating system lets it in.
    fn provide(&mut self, _: &mut Stage) {}

    fn took(&mut self, stage: &mut Stage, stream: F::Stream) {
        let stream: Transport = stream.into();
        stage.ok(stream.write("made"));
        self.made.push(stream);
    }

    fn quit(&mut self, _: Quit) {}

    /// Whoever is at the door was given, or has closed.
    fn check_rest(&mut self, stage: &mut Stage) {
        stage.settle();
        let listener = self.listener.as_ref().expect("it is held");
        let mut made = 0;
        loop {
            let accept = F::accept(listener);
            stage.settle();
            if !accept.is_ready() {
                break;
            }
            let stream: Transport = stage.ok(accept).0.into();
            match &stage.ok(stream.read(10))[..] {
                b"" => {}
                b"made" => made += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(made, self.made.len());
    }

    /// The listener closes with the connection in its queue.
    fn finish(&mut self, _: &mut Stage) {
        self.listener = None;
    }

    fn finished(&mut self, stage: &mut Stage, outcome: Outcome<F::Stream>) {
        let Outcome::Ok(stream) = outcome else { panic!("connects") };
        let stream: Transport = stream.into();
        let failure = stage.err(stream.read_exact(1));
        let over = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
        assert!(over.contains(&kind_of(&failure)));
    }

    /// Nobody listens any more.
    fn reset(&mut self, _: &mut Stage) {
        self.listener = None;
    }

    fn was_reset(&mut self, stage: &mut Stage, outcome: Outcome<F::Stream>) {
        self.finished(stage, outcome);
        assert_eq!(kind_of(&stage.err(self.ask())), ErrorKind::ConnectionRefused);
    }

    fn let_go(&mut self) {
        unreachable!("the table has no such cell");
    }

    fn abort(&mut self) {
        unreachable!("the table has no such cell");
    }

    fn was_aborted(&mut self, _: Outcome<F::Stream>) {
        unreachable!("the table has no such cell");
    }
}
