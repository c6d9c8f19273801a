//! Connecting to whichever address answers first (RFC 8305).

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    rc::{Rc, Weak},
    time::Duration,
};

use thence_core::{Canceller, Deferred, Failure, Outcome, Stop, Trigger};

use crate::{hub::Hub, time::after};

/// Has `connect` try `addresses` until one is connected (happy eyeballs, RFC 8305).
///
/// Families take turns, beginning with that of the first address. The next attempt begins 250 ms
/// after the last, at once when one fails; earlier ones go on meanwhile. The first connection is
/// the result. It is handed out when the other attempts, which are asked to end, have ended; one
/// that connects all the same is dropped, which closes it.
///
/// Cancelled or left, all attempts are asked to end.
///
/// ```
/// use thence_reactor::{dns::happy_eyeballs, net::{TcpListener, TcpStream}};
/// # thence_reactor::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let closed = TcpListener::bind("127.0.0.1:0")?.local_addr();
/// # let open = listener.local_addr();
///
/// let stream = happy_eyeballs(vec![closed, open], TcpStream::connect).await?;
/// assert_eq!(stream.peer_addr()?, open);
/// # Ok(()) }).unwrap();
/// ```
///
/// # Errors
///
/// The Deferred fails when every attempt has. The failure is that of the attempt where there is one
/// address; otherwise an [`io::Error`] that says all of them and has a [`NotReached`] inside. Its
/// kind is the one they share, if they do.
///
/// # Panics
///
/// When this thread has no reactor.
#[track_caller]
pub fn happy_eyeballs<T: 'static>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> Deferred<T> + 'static,
) -> Deferred<T> {
    if addresses.is_empty() {
        return Deferred::err(Failure::msg("there is no address to connect to"));
    }
    let (trigger, deferred) = Deferred::new();
    let race = Rc::new_cyclic(|this: &Weak<Race<T>>| {
        let (cancelled, left) = (this.clone(), this.clone());
        trigger.on_cancel(move || cancelled.upgrade().into_iter().for_each(|race| race.stop()));
        trigger.on_left(move || left.upgrade().into_iter().for_each(|race| race.stop()));
        Race {
            connect: Box::new(connect),
            state: RefCell::new(State {
                untried: take_turns(addresses),
                running: Vec::new(),
                tried: 0,
                timer: None,
                failed: Vec::new(),
                won: None,
                stopped: None,
                trigger: Some(trigger),
            }),
        }
    });
    race.try_next();
    deferred
}

/// No address answered.
#[derive(Debug)]
pub struct NotReached {
    failed: Vec<(SocketAddr, Failure)>,
}

impl NotReached {
    /// Which address failed, and how, in the order they failed in.
    pub fn failures(&self) -> impl Iterator<Item = (SocketAddr, &Failure)> {
        self.failed.iter().map(|(address, failure)| (*address, failure))
    }

    /// The failure of all: the only one there is, or this as an I/O error of the kind they share.
    fn into_failure(mut self) -> Failure {
        if self.failed.len() == 1 {
            return self.failed.remove(0).1;
        }
        let kind = |(_, failure): &(_, Failure)| failure.downcast_ref().map(io::Error::kind);
        let mut kinds = self.failed.iter().map(kind);
        let first = kinds.next().flatten();
        let shared = first.filter(|first| kinds.all(|kind| kind == Some(*first)));
        Failure::from(io::Error::new(shared.unwrap_or(io::ErrorKind::Other), self))
    }
}

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {} addresses answered", self.failed.len())?;
        for (n, (address, failure)) in self.failed.iter().enumerate() {
            f.write_str(if n == 0 { ": " } else { "; " })?;
            let (address, text) = (address.to_string(), format!("{failure:#}"));
            match text.contains(&address) {
                true => f.write_str(&text)?,
                false => write!(f, "{address}: {text}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for NotReached {}

/// The attempts to reach one destination.
struct Race<T: 'static> {
    connect: Box<dyn Fn(SocketAddr) -> Deferred<T>>,
    state: RefCell<State<T>>,
}

struct State<T: 'static> {
    untried: VecDeque<SocketAddr>,
    /// By number. While the race is on there is at least one.
    running: Vec<(usize, Canceller)>,
    tried: usize,
    /// Begins the next attempt.
    timer: Option<Canceller>,
    failed: Vec<(SocketAddr, Failure)>,
    won: Option<T>,
    /// An attempt was stopped by something else than this race.
    stopped: Option<Stop>,
    trigger: Option<Trigger<T>>,
}

impl<T: 'static> Race<T> {
    /// Begins the next attempt, if there is one.
    fn try_next(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        if Hub::try_current().is_none() {
            // The reactor has ended meanwhile.
            state.untried.clear();
            state.stopped.get_or_insert(Stop::Cancelled);
        }
        let timer = state.timer.take();
        let next = state.untried.pop_front();
        let number = state.tried;
        state.tried += 1;
        let is_last = state.untried.is_empty();
        drop(state);
        timer.iter().for_each(Canceller::cancel);
        let Some(address) = next else { return };

        let this = self.clone();
        let attempt = Deferred::attempt(move || (this.connect)(address));
        self.state.borrow_mut().running.push((number, attempt.canceller()));
        if !is_last {
            let (this, wait) = (self.clone(), after(DELAY));
            self.state.borrow_mut().timer = Some(wait.canceller());
            wait.done(move |()| this.try_next());
        }
        let this = self.clone();
        let told = attempt.then(move |outcome| {
            this.ended(number, address, outcome);
            Ok::<(), Failure>(())
        });
        drop(told);
    }

    fn ended(self: &Rc<Self>, number: usize, address: SocketAddr, outcome: Outcome<T, Failure>) {
        let mut state = self.state.borrow_mut();
        state.running.retain(|(running, _)| *running != number);
        match outcome {
            Outcome::Ok(connection) if state.won.is_none() => {
                state.won = Some(connection);
                drop(state);
                self.stop();
            }
            Outcome::Ok(late) => {
                drop(state);
                drop(late);
            }
            Outcome::Err(failure) => {
                state.failed.push((address, failure));
                drop(state);
                self.try_next();
            }
            Outcome::Stop(stop) => {
                let untold = state.stopped.replace(stop);
                drop(state);
                tell(untold);
                self.stop();
            }
        }
        self.finish();
    }

    /// Nothing more is tried, and what is under way is asked to end.
    fn stop(&self) {
        let mut state = self.state.borrow_mut();
        state.untried.clear();
        let timer = state.timer.take();
        let running: Vec<_> = state.running.iter().map(|(_, attempt)| attempt.clone()).collect();
        drop(state);
        timer.iter().chain(&running).for_each(Canceller::cancel);
    }

    /// Says how it went, once all attempts have ended.
    fn finish(&self) {
        let mut state = self.state.borrow_mut();
        if !state.running.is_empty() {
            return;
        }
        let Some(trigger) = state.trigger.take() else { return };
        let (won, stopped) = (state.won.take(), state.stopped.take());
        let failed = std::mem::take(&mut state.failed);
        drop(state);
        match (won, stopped) {
            (Some(connection), stopped) => {
                trigger.fire(connection);
                tell(stopped);
            }
            (None, stopped) if trigger.is_cancelled() => {
                drop(trigger);
                tell(stopped);
            }
            (None, Some(stop)) => trigger.settle(Outcome::Stop(stop)),
            (None, None) => trigger.fail(NotReached { failed }.into_failure()),
        }
    }
}

/// Reports a panic that is not the end of the race.
fn tell(stop: Option<Stop>) {
    if let Some(stop) = stop {
        Deferred::<()>::ended(Outcome::Stop(stop)).report();
    }
}

/// Families in turn, beginning with that of the first (RFC 8305, section 4).
fn take_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = VecDeque::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

/// Section 5 of the RFC: a user does not notice it, and most connections are made sooner.
const DELAY: Duration = Duration::from_millis(250);
