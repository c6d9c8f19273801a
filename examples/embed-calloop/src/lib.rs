//! A reactor as a source of calloop: Deferreds, timers and sockets beside what else the loop has.
//!
//! The reactor has three ways to say that a turn is due, and this watches all of them: its
//! descriptor is readable (something has come, from a socket or from another thread), the time
//! until its next timer is over, or something is left to do after the last turn.

use std::{io, time::Duration};

use calloop::{
    EventSource, Interest, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
    generic::Generic,
    timer::{TimeoutAction, Timer},
};
use std::os::fd::OwnedFd;
use thence::Reactor;

/// Give it to [`LoopHandle::insert_source`](calloop::LoopHandle::insert_source).
#[derive(Debug)]
pub struct ReactorSource {
    reactor: Reactor,
    descriptor: Generic<OwnedFd>,
    timer: Timer,
}

impl ReactorSource {
    /// A reactor that turns when calloop says so.
    ///
    /// # Errors
    ///
    /// When the reactor has no descriptor, or it cannot be cloned.
    pub fn new(reactor: Reactor) -> io::Result<Self> {
        let descriptor = reactor.as_fd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned()?;
        let descriptor = Generic::new(descriptor, Interest::READ, Mode::Level);
        Ok(ReactorSource { reactor, descriptor, timer: Timer::immediate() })
    }
}

impl EventSource for ReactorSource {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = Box<dyn std::error::Error + Sync + Send>;

    fn process_events<F>(
        &mut self,
        readiness: Readiness,
        token: Token,
        _: F,
    ) -> Result<PostAction, Self::Error>
    where
        F: FnMut((), &mut ()),
    {
        let mut due = false;
        self.descriptor.process_events(readiness, token, |_, _| {
            due = true;
            Ok(PostAction::Continue)
        })?;
        self.timer.process_events(readiness, token, |_, _| {
            due = true;
            // Set again before the loop sleeps.
            TimeoutAction::Drop
        })?;
        if due {
            self.reactor.turn(Some(Duration::ZERO))?;
        }
        Ok(PostAction::Continue)
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.descriptor.register(poll, tokens)?;
        self.timer.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.descriptor.reregister(poll, tokens)?;
        self.timer.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.descriptor.unregister(poll)?;
        self.timer.unregister(poll)
    }
}
