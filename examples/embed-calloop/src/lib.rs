//! A reactor inside of calloop's loop: Deferreds, timers and sockets beside what else that has.
//!
//! A turn is due when the reactor's descriptor is readable, which it is once something has come from
//! a socket or another thread, and when `next_timeout` has passed. The first is a source, the second
//! a timer, which is set again before each sleep.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use calloop::{
    Dispatcher, Interest, LoopHandle, Mode, PostAction, RegistrationToken,
    generic::Generic,
    timer::{TimeoutAction, Timer},
};
use thence::Reactor;

/// A reactor that turns when calloop says so. It ends with this.
pub struct Embedded<D: 'static> {
    reactor: Rc<RefCell<Reactor>>,
    handle: LoopHandle<'static, D>,
    timer: Dispatcher<'static, Timer, D>,
    tokens: [RegistrationToken; 2],
}

impl<D> Embedded<D> {
    /// Adds the reactor to a loop.
    pub fn new(reactor: Reactor, handle: LoopHandle<'static, D>) -> calloop::Result<Self> {
        let fd = reactor.as_fd().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        let fd = fd.try_clone_to_owned()?;
        let reactor = Rc::new(RefCell::new(reactor));

        let turned = reactor.clone();
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let source = Dispatcher::new(source, move |_, _, _: &mut D| {
            turned.borrow_mut().turn(Some(Duration::ZERO))?;
            Ok(PostAction::Continue)
        });
        let turned = reactor.clone();
        let timer = Dispatcher::new(Timer::immediate(), move |_, _: &mut (), _: &mut D| {
            let mut reactor = turned.borrow_mut();
            if let Err(error) = reactor.turn(Some(Duration::ZERO)) {
                eprintln!("the reactor cannot turn: {error}");
                return TimeoutAction::Drop;
            }
            TimeoutAction::ToDuration(pause(&reactor))
        });
        let tokens =
            [handle.register_dispatcher(source)?, handle.register_dispatcher(timer.clone())?];
        Ok(Embedded { reactor, handle, timer, tokens })
    }

    /// Call this before calloop sleeps, in the callback of `EventLoop::run`: whatever ran since may
    /// have asked the reactor for something.
    pub fn before_sleep(&self) -> calloop::Result<()> {
        self.timer.as_source_mut().set_duration(pause(&self.reactor.borrow()));
        self.handle.update(&self.tokens[1])
    }
}

impl<D> Drop for Embedded<D> {
    fn drop(&mut self) {
        self.tokens.iter().for_each(|token| self.handle.remove(*token));
    }
}

/// How long the next turn may be put off.
fn pause(reactor: &Reactor) -> Duration {
    const LONG: Duration = Duration::from_secs(24 * 60 * 60);
    reactor.next_timeout().unwrap_or(LONG)
}
