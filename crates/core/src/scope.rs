//! A scope: what it owns has ended when it has.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::Canceller;
use crate::fault::Fault;
use crate::node::{Slot, cx};
use crate::outcome::Never;
use crate::steps::Arrive;
use crate::{Deferred, Failure, Trigger, flow};

/// Owns Deferreds and ends only after all of them have.
///
/// Dropping the last handle on a scope sends a request to end to everything it owns; what ends
/// later is still accounted to it.
///
/// ```
/// use thence_core::{Deferred, Scope};
///
/// let (trigger, work) = Deferred::<()>::new();
/// let whole = Scope::run(|scope| async move {
///     scope.add(work);
///     Ok("body done")
/// });
/// assert!(!whole.is_ready()); // the work has not ended
/// trigger.fire(());
/// whole.inspect(|text| assert_eq!(*text, "body done")).report();
/// ```
#[derive(Clone)]
pub struct Scope(Rc<Owner>);

/// What the handles share. Its end is the scope's drop.
struct Owner(Rc<RefCell<Owned>>);

#[derive(Default)]
struct Owned {
    members: Vec<Option<Canceller>>,
    holes: Vec<usize>,
    live: usize,
    waiting: Vec<Trigger<(), Never>>,
}

impl Scope {
    /// An empty scope.
    pub fn new() -> Self {
        Self(Rc::new(Owner(Rc::default())))
    }

    /// Runs a block with a scope of its own; ends with what the block gave, after everything the
    /// scope owns has ended. When the block fails or is stopped, what the scope owns is asked to
    /// end first.
    #[doc(alias = "nursery")]
    #[doc(alias = "TaskGroup")]
    #[track_caller]
    pub fn run<T, F>(body: impl FnOnce(Self) -> F) -> Deferred<T>
    where
        T: 'static,
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        let scope = Self::new();
        let block = flow(body(scope.clone()));
        block.then(move |outcome| {
            if !outcome.is_ok() {
                scope.cancel();
            }
            // A request that comes now is for what the scope owns; it does not cut the wait.
            let (trigger, ended) = Deferred::infallible();
            let owned = Rc::downgrade(&scope.0.0);
            trigger.on_cancel(move || {
                if let Some(owned) = owned.upgrade() {
                    cancel(&owned);
                }
            });
            scope.notify(trigger);
            ended.then(move |_| {
                drop(scope);
                Deferred::ended(outcome)
            })
        })
    }

    /// Takes a Deferred in. A value is dropped; a failure nobody handled is reported, with this
    /// site as its last.
    #[track_caller]
    pub fn add<T: 'static, E: Fault>(&self, d: Deferred<T, E>) {
        if d.is_ready() {
            return d.report_any();
        }
        let owned = self.0.0.clone();
        let index = owned.borrow_mut().insert(d.canceller());
        let arrive = Arrive::new(move |slot: Slot<T, E>, _| {
            remove(&owned, index);
            Slot { outcome: slot.outcome.map(drop), trail: slot.trail }
        });
        drop(d.step(arrive, Location::caller()));
    }

    /// Asks everything it owns to end.
    pub fn cancel(&self) {
        cancel(&self.0.0);
    }

    /// How many of its members have not ended.
    pub fn live(&self) -> usize {
        self.0.0.borrow().live
    }

    /// Ends when everything that it owns has ended.
    #[track_caller]
    pub fn ended(&self) -> Deferred<(), Never> {
        let (trigger, d) = Deferred::infallible();
        self.notify(trigger);
        d
    }

    fn notify(&self, trigger: Trigger<(), Never>) {
        if self.live() == 0 {
            trigger.fire(());
        } else {
            self.0.0.borrow_mut().waiting.push(trigger);
        }
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("live", &self.live()).finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        cancel(&self.0);
    }
}

impl Owned {
    fn insert(&mut self, member: Canceller) -> usize {
        self.live += 1;
        if let Some(hole) = self.holes.pop() {
            self.members[hole] = Some(member);
            return hole;
        }
        self.members.push(Some(member));
        self.members.len() - 1
    }
}

fn cancel(owned: &RefCell<Owned>) {
    let members: Vec<Canceller> = owned.borrow().members.iter().flatten().cloned().collect();
    if !members.is_empty() {
        cx().enter(|| members.iter().for_each(Canceller::cancel));
    }
}

fn remove(owned: &RefCell<Owned>, index: usize) {
    let mut now = owned.borrow_mut();
    let member = now.members[index].take();
    now.holes.push(index);
    now.live -= 1;
    let waiting = if now.live == 0 { std::mem::take(&mut now.waiting) } else { Vec::new() };
    drop(now);
    drop(member);
    waiting.into_iter().for_each(|trigger| trigger.fire(()));
}

impl<T: 'static, E: Fault> Deferred<T, E> {
    #[track_caller]
    fn report_any(self) {
        drop(self.step(crate::steps::Report, Location::caller()));
    }
}
