//! A connection that is being made.

use std::{cell::RefCell, io, rc::Rc};

use thence_core::{Failure, Outcome, Stop, Trigger};

use super::Transport;
use crate::{
    driver::{Address, Done, Key, Op, is_cancelled},
    hub::{Hub, Sink},
};

struct Connecting<S: 'static> {
    hub: Rc<Hub>,
    to: Address,
    trigger: RefCell<Option<Trigger<S>>>,
    wrap: fn(Transport) -> S,
}

/// Connects to `to` and fires `trigger` with what `wrap` makes of the connection.
pub(super) fn start<S: 'static>(
    hub: &Rc<Hub>,
    to: Address,
    trigger: Trigger<S>,
    wrap: fn(Transport) -> S,
) {
    let trigger_of = RefCell::new(None);
    let connecting =
        Rc::new(Connecting { hub: hub.clone(), to: to.clone(), trigger: trigger_of, wrap });
    match hub.submit(Op::Connect { to }, connecting.clone()) {
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

impl<S: 'static> Connecting<S> {
    fn failure(&self, error: io::Error) -> Failure {
        Failure::from(error).context(format!("cannot connect to {}", self.to))
    }
}

impl<S: 'static> Sink for Connecting<S> {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        let Some(trigger) = self.trigger.take() else { return };
        match result {
            Ok(Done::Connected(socket)) => {
                trigger.fire((self.wrap)(Transport::new(self.hub.clone(), socket)));
            }
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
