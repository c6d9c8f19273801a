//! The look-ups of a reactor: at most one of a name at a time, and never so many that the pool has
//! no thread for anything else.
//!
//! A look-up that has begun cannot be stopped: the operating system has it. So it stays until it has
//! really ended, whoever waits: those who ask for the same name meanwhile wait with the others for
//! its answer, instead of taking another thread that hangs as long.
//!
//! Users' code runs where a trigger is settled; nothing is borrowed there.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    rc::Rc,
};

use thence_core::{Canceller, Deferred, Failure, Outcome, Stop, Trigger};

use crate::{hub::Hub, offload};

/// The look-ups of one reactor.
#[derive(Default)]
pub(crate) struct Lookups {
    by_name: RefCell<HashMap<String, Rc<Lookup>>>,
    /// Those that have not begun.
    line: RefCell<VecDeque<Rc<Lookup>>>,
    running: Cell<usize>,
    /// The number of the last waiter.
    last: Cell<u64>,
}

/// The look-up of one name.
struct Lookup {
    host: String,
    waiters: RefCell<Vec<Waiter>>,
    /// Takes it out of the queue of the pool; none before it has got there.
    job: RefCell<Option<Canceller>>,
}

struct Waiter {
    number: u64,
    port: u16,
    trigger: Trigger<Vec<SocketAddr>>,
}

impl Lookups {
    /// Looks `host` up, or waits with those who have asked already.
    #[track_caller]
    pub(super) fn ask(hub: &Rc<Hub>, host: String, port: u16) -> Deferred<Vec<SocketAddr>> {
        let this = &hub.lookups;
        let mut by_name = this.by_name.borrow_mut();
        let lookup = by_name.get(&host).cloned().unwrap_or_else(|| {
            let lookup = Rc::new(Lookup::of(host.clone()));
            by_name.insert(host, lookup.clone());
            this.line.borrow_mut().push_back(lookup.clone());
            lookup
        });
        drop(by_name);
        let (trigger, deferred) = Deferred::new();
        let number = this.last.get() + 1;
        this.last.set(number);
        let leave = {
            let (hub, lookup) = (Rc::downgrade(hub), Rc::downgrade(&lookup));
            move || {
                if let (Some(hub), Some(lookup)) = (hub.upgrade(), lookup.upgrade()) {
                    hub.lookups.leave(&lookup, number);
                }
            }
        };
        trigger.on_cancel(leave.clone());
        trigger.on_left(leave);
        lookup.waiters.borrow_mut().push(Waiter { number, port, trigger });
        begin_next(hub);
        deferred
    }

    /// A waiter is gone. A look-up changes nothing, so there is nothing to wait for: it ends at
    /// once. With the last of them a look-up that has not started goes, too.
    fn leave(&self, lookup: &Rc<Lookup>, number: u64) {
        let mut waiters = lookup.waiters.borrow_mut();
        let place = waiters.iter().position(|waiter| waiter.number == number);
        let gone = place.map(|place| waiters.remove(place));
        let is_wanted = !waiters.is_empty();
        drop(waiters);
        if !is_wanted {
            let job = lookup.job.borrow().clone();
            match job {
                Some(job) => job.cancel(),
                None => self.forget(lookup),
            }
        }
        if let Some(gone) = gone {
            gone.trigger.settle(Outcome::Stop(Stop::Cancelled));
        }
    }

    fn forget(&self, lookup: &Rc<Lookup>) {
        self.line.borrow_mut().retain(|other| !Rc::ptr_eq(other, lookup));
        let mut by_name = self.by_name.borrow_mut();
        if by_name.get(&lookup.host).is_some_and(|other| Rc::ptr_eq(other, lookup)) {
            by_name.remove(&lookup.host);
        }
    }

    /// The reactor is gone: whoever waits for a look-up that has not begun ends.
    pub(crate) fn close(&self) {
        let line = self.line.take();
        line.iter().for_each(|lookup| {
            self.forget(lookup);
            lookup.answer(&Outcome::Stop(Stop::Cancelled));
        });
    }
}

impl Lookup {
    fn of(host: String) -> Self {
        Self { host, waiters: RefCell::default(), job: RefCell::default() }
    }

    fn answer(&self, outcome: &Outcome<Vec<IpAddr>, Failure>) {
        for Waiter { port, trigger, .. } in self.waiters.take() {
            let with_port = |found: Vec<IpAddr>| {
                found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
            };
            trigger.settle(outcome.clone().map(with_port));
        }
    }
}

/// Begins what may begin.
fn begin_next(hub: &Rc<Hub>) {
    let lookups = &hub.lookups;
    while lookups.running.get() < most(hub) {
        let next = lookups.line.borrow_mut().pop_front();
        let Some(next) = next else { return };
        begin(hub, next);
    }
}

fn begin(hub: &Rc<Hub>, lookup: Rc<Lookup>) {
    hub.lookups.running.set(hub.lookups.running.get() + 1);
    let host = lookup.host.clone();
    let found = offload::when_free(hub, move || match (host.as_str(), 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => Err(Failure::from(error).context(format!("cannot look up {host}"))),
    });
    lookup.job.replace(Some(found.canceller()));
    let weak = Rc::downgrade(hub);
    let told = found.then(move |outcome: Outcome<Vec<IpAddr>, Failure>| {
        match weak.upgrade() {
            Some(hub) => ended(&hub, &lookup, &outcome),
            None => lookup.answer(&outcome),
        }
        Ok::<(), Failure>(())
    });
    drop(told);
}

fn ended(hub: &Rc<Hub>, lookup: &Rc<Lookup>, outcome: &Outcome<Vec<IpAddr>, Failure>) {
    let lookups = &hub.lookups;
    lookups.running.set(lookups.running.get() - 1);
    lookup.job.take();
    let is_wanted = !lookup.waiters.borrow().is_empty();
    if matches!(outcome, Outcome::Stop(Stop::Cancelled)) && is_wanted && hub.is_alive() {
        // The last waiter had gone and somebody new has come before that was seen to.
        lookups.line.borrow_mut().push_front(lookup.clone());
    } else {
        lookups.forget(lookup);
        lookup.answer(outcome);
    }
    begin_next(hub);
}

/// How many may run: half of the threads, so that files and other jobs go on while they hang.
fn most(hub: &Hub) -> usize {
    (hub.jobs.size() / 2).max(1)
}
