//! A connection that is being made.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use thence_core::{Failure, Outcome, Stop, Trigger};

use super::TcpStream;
use crate::{
    driver::{Done, Key, Op, is_cancelled},
    hub::{Hub, Sink},
};

struct Connecting {
    hub: Rc<Hub>,
    addr: SocketAddr,
    trigger: RefCell<Option<Trigger<TcpStream>>>,
}

/// Connects to `addr` and fires `trigger`.
pub(super) fn start(hub: &Rc<Hub>, addr: SocketAddr, trigger: Trigger<TcpStream>) {
    let connecting = Rc::new(Connecting { hub: hub.clone(), addr, trigger: RefCell::new(None) });
    match hub.submit(Op::Connect { addr }, connecting.clone()) {
        Ok(key) => {
            let hub = Rc::downgrade(hub);
            trigger.on_cancel(move || {
                if let Some(hub) = hub.upgrade() {
                    hub.cancel(key);
                }
            });
            connecting.trigger.replace(Some(trigger));
        }
        Err(error) => trigger.fail(connecting.failure(error)),
    }
}

impl Connecting {
    fn failure(&self, error: io::Error) -> Failure {
        Failure::from(error).context(format!("cannot connect to {}", self.addr))
    }
}

impl Sink for Connecting {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        let Some(trigger) = self.trigger.take() else { return };
        match result {
            Ok(Done::Connected(socket)) => trigger.fire(TcpStream::new(self.hub.clone(), socket)),
            Ok(_) => {}
            // Its drop says so.
            Err(error) if is_cancelled(&error) => {}
            Err(error) => trigger.fail(self.failure(error)),
        }
    }

    fn abandoned(&self) {
        if let Some(trigger) = self.trigger.take() {
            trigger.settle(Outcome::Stop(Stop::Cancelled));
        }
    }
}
