//! The desk where sessions are looked up: whoever asks while the store is busy is answered with
//! others, by one job.
//!
//! A look-up joins a batch that has not begun, so that it sees every revocation that was
//! acknowledged before it came; nothing is remembered between two batches. Those who ask for one
//! session share one read.
//!
//! Users' code: a trigger may run it, so each is settled or dropped with nothing borrowed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    rc::{Rc, Weak},
};

use thence::{Canceller, Deferred, Failure, FlowContext, Outcome, Stop, Trigger};

use crate::session::{Found, RowKey};

/// What a batch gives: for each key what was found, or why that row cannot be read.
pub type Answers = Vec<Result<Found, Failure>>;

/// Look-ups that wait, and those under way.
pub struct Desk {
    this: Weak<Self>,
    ask: Box<dyn Fn(Vec<RowKey>) -> Deferred<Answers>>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    waiters: HashMap<u64, Waiter>,
    /// Keys whose batch has not begun.
    pending: HashMap<RowKey, Pending>,
    /// The same keys, as they came.
    order: BTreeMap<u64, RowKey>,
    batches: HashMap<u64, Batch>,
}

struct Waiter {
    answer: Trigger<Found>,
    /// The batch that has begun with it.
    batch: Option<u64>,
}

struct Pending {
    place: u64,
    waiters: BTreeSet<u64>,
}

struct Batch {
    /// Waiters who have not left.
    left: usize,
    /// Nothing until it is known.
    work: Option<Canceller>,
}

impl Desk {
    /// A desk that asks with `ask`, of which at most [`Desk::BATCHES`] are under way at a time.
    pub fn new(ask: impl Fn(Vec<RowKey>) -> Deferred<Answers> + 'static) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            ask: Box::new(ask),
            state: RefCell::default(),
        })
    }

    /// Batches under way at a time: the pool's other threads have other things to do.
    pub const BATCHES: usize = 2;
    /// Keys in a batch.
    pub const KEYS: usize = 256;
    /// Look-ups that may wait; one more is told [`Crowded`].
    pub const WAITING: usize = 10_000;

    /// Looks `key` up. Whoever leaves or cancels disturbs none of the others.
    pub fn find(&self, key: RowKey) -> Deferred<Found> {
        let mut state = self.state.borrow_mut();
        if state.waiters.len() >= Self::WAITING {
            return Deferred::err(Crowded.into());
        }
        let (answer, found) = Deferred::new();
        let id = state.number();
        let (cancelled, left) = (self.this.clone(), self.this.clone());
        answer.on_cancel(move || leave(&cancelled, key, id));
        answer.on_left(move || leave(&left, key, id));
        state.waiters.insert(id, Waiter { answer, batch: None });
        if !state.pending.contains_key(&key) {
            let place = state.number();
            state.order.insert(place, key);
            state.pending.insert(key, Pending { place, waiters: BTreeSet::new() });
        }
        if let Some(pending) = state.pending.get_mut(&key) {
            pending.waiters.insert(id);
        }
        drop(state);
        self.begin();
        found
    }

    /// Counts the batches under way no longer: what they asked may never answer, and is not asked
    /// any more. Who waits for one gets what it brings, or runs into the deadline.
    pub fn begin_anew(&self) {
        let forgotten = std::mem::take(&mut self.state.borrow_mut().batches);
        drop(forgotten);
        self.begin();
    }

    /// Look-ups that have not been answered.
    pub fn waiting(&self) -> usize {
        self.state.borrow().waiters.len()
    }

    /// Begins as many batches as may be under way.
    fn begin(&self) {
        loop {
            let next = self.state.borrow_mut().next_batch();
            let Some((number, keys, ids)) = next else { return };
            let desk = self.this.clone();
            // It belongs to none of those who wait.
            let asked = FlowContext::default().enter(|| {
                let asked = (self.ask)(keys).named("read the rows of sessions");
                let work = asked.canceller();
                asked
                    .then(move |outcome| {
                        if let Some(desk) = desk.upgrade() {
                            desk.answer(number, ids, outcome);
                        }
                        Ok::<_, Failure>(())
                    })
                    .report();
                work
            });
            if let Some(batch) = self.state.borrow_mut().batches.get_mut(&number) {
                batch.work = Some(asked);
            }
        }
    }

    fn answer(&self, number: u64, ids: Vec<BTreeSet<u64>>, outcome: Outcome<Answers, Failure>) {
        let answers = match outcome {
            Outcome::Ok(answers) => answers,
            Outcome::Err(failure) => vec![Err(failure); ids.len()],
            Outcome::Stop(stop) => {
                vec![Err(Failure::msg(format!("the look-up did not end: {stop}"))); ids.len()]
            }
        };
        let mut state = self.state.borrow_mut();
        let batch = state.batches.remove(&number);
        let mut told = Vec::new();
        for (ids, answer) in ids.into_iter().zip(answers) {
            let waiters = ids.iter().filter_map(|id| state.waiters.remove(id));
            told.extend(waiters.map(|waiter| (waiter.answer, answer.clone())));
        }
        drop(state);
        drop(batch);
        // The store goes on while those are told.
        self.begin();
        for (waiter, answer) in told {
            waiter.settle(answer.into());
        }
    }

    /// A waiter is gone: what nobody waits for any more is not asked.
    fn left(&self, key: RowKey, id: u64) {
        let mut state = self.state.borrow_mut();
        let Some(waiter) = state.waiters.remove(&id) else { return };
        let work = match waiter.batch {
            Some(number) => state.batches.get_mut(&number).and_then(|batch| {
                batch.left -= 1;
                if batch.left == 0 { batch.work.take() } else { None }
            }),
            None => {
                state.forget(key, id);
                None
            }
        };
        drop(state);
        // Not dropped: where nobody asked for the end that would be a loss.
        waiter.answer.settle(Outcome::Stop(Stop::Cancelled));
        if let Some(work) = work {
            work.cancel();
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn next_batch(&mut self) -> Option<(u64, Vec<RowKey>, Vec<BTreeSet<u64>>)> {
        if self.batches.len() >= Desk::BATCHES || self.order.is_empty() {
            return None;
        }
        let number = self.number();
        let (mut keys, mut ids) = (Vec::new(), Vec::new());
        let mut left = 0;
        while keys.len() < Desk::KEYS
            && let Some((_, key)) = self.order.pop_first()
        {
            let Some(pending) = self.pending.remove(&key) else { continue };
            for id in &pending.waiters {
                if let Some(waiter) = self.waiters.get_mut(id) {
                    waiter.batch = Some(number);
                    left += 1;
                }
            }
            keys.push(key);
            ids.push(pending.waiters);
        }
        self.batches.insert(number, Batch { left, work: None });
        Some((number, keys, ids))
    }

    fn forget(&mut self, key: RowKey, id: u64) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        pending.waiters.remove(&id);
        if pending.waiters.is_empty() {
            self.order.remove(&pending.place);
            self.pending.remove(&key);
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

fn leave(desk: &Weak<Desk>, key: RowKey, id: u64) {
    if let Some(desk) = desk.upgrade() {
        desk.left(key, id);
    }
}

/// More look-ups wait than may.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many look-ups wait for the session store")
    }
}

impl std::error::Error for Crowded {}

#[cfg(test)]
mod tests;
