//! A scope: what it owns has ended when it has.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::Canceller;
use crate::fault::Fault;
use crate::node::{Site, cx, discard, run_guarded};
use crate::outcome::{Never, Outcome, Stop};
use crate::slot::Slot;
use crate::steps::{Arrive, Then};
use crate::{Deferred, Failure, Step, Trigger};

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
    /// By the order in which they were added, which is that of a request.
    members: BTreeMap<u64, Canceller>,
    last: u64,
    waiting: Vec<Trigger<(), Never>>,
    fail_fast: Option<FailFast>,
}

/// What a scope knows whose first failure is its end.
#[derive(Default)]
struct FailFast {
    body: Option<Canceller>,
    /// How the first member that failed, panicked or was lost has ended.
    first: Option<Outcome<Never, Failure>>,
    /// Whether the body or a member has decided the end.
    is_decided: bool,
}

impl Scope {
    /// An empty scope.
    ///
    /// ```
    /// use thence_core::{Deferred, Scope};
    ///
    /// let requests = Scope::new();
    /// let (trigger, request) = Deferred::<u8>::new();
    /// requests.add(request);
    /// drop(requests); // asks what it owns to end
    /// assert!(trigger.is_cancelled());
    /// ```
    pub fn new() -> Self {
        Self(Rc::new(Owner(Rc::default())))
    }

    /// Runs a block with a scope of its own; ends with what the block gave, after everything the
    /// scope owns has ended. When the block fails or is stopped, what the scope owns is asked to
    /// end first.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, Scope};
    ///
    /// let (trigger, member) = Deferred::<u8>::new();
    /// let whole = Scope::run(|scope| async move {
    ///     scope.add(member);
    ///     Err::<(), _>(Failure::msg("the block failed"))
    /// });
    /// assert!(trigger.is_cancelled()); // and when it has ended, so has the whole
    /// whole.recover(|failure| assert_eq!(failure.to_string(), "the block failed")).done(drop);
    /// ```
    #[doc(alias = "nursery")]
    #[track_caller]
    pub fn run<T, F>(body: impl FnOnce(Self) -> F) -> Deferred<T>
    where
        T: 'static,
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        Self::new().enclose(body)
    }

    /// As [`Scope::run`], and the first failure is the end of all: when the block or a member
    /// fails, panics or is lost, everything else is asked to end, the block among it, and what
    /// has failed first is the end of this Deferred once everything has ended.
    ///
    /// What fails later is reported. A member that was cancelled has not failed.
    ///
    /// ```
    /// use thence_core::{Deferred, Failure, Scope};
    ///
    /// let (trigger, member) = Deferred::<u8>::new();
    /// let (other, never) = Deferred::<u8>::new();
    /// let whole = Scope::run_fail_fast(|scope| async move {
    ///     scope.add(member);
    ///     never.await
    /// });
    /// trigger.fail(Failure::msg("disk full"));
    /// assert!(other.is_cancelled());
    /// whole.recover(|failure| {
    ///     assert_eq!(failure.to_string(), "disk full");
    ///     0
    /// })
    /// .done(drop);
    /// ```
    #[doc(alias = "TaskGroup")]
    #[doc(alias = "coroutineScope")]
    #[track_caller]
    pub fn run_fail_fast<T, F>(body: impl FnOnce(Self) -> F) -> Deferred<T>
    where
        T: 'static,
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        let scope = Self::new();
        scope.0.0.borrow_mut().fail_fast = Some(FailFast::default());
        scope.enclose(body)
    }

    /// Takes a Deferred in. A value is dropped; a failure nobody handled is reported, with this
    /// site as its last, unless it is what ends a [`Scope::run_fail_fast`]. One that is added after
    /// such a failure is asked to end at once.
    ///
    /// ```
    /// use thence_core::{Deferred, Scope};
    ///
    /// let scope = Scope::new();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// scope.add(d.map(|n| println!("{n}")));
    /// assert_eq!(scope.live(), 1);
    /// trigger.fire(1);
    /// assert_eq!(scope.live(), 0);
    /// ```
    #[track_caller]
    pub fn add<T: 'static, E: Fault>(&self, d: Deferred<T, E>) {
        let owned = self.0.0.clone();
        let member = d.canceller();
        let place = owned.borrow_mut().insert(member.clone());
        let site = Location::caller();
        let arrive = Arrive::new(move |slot: Slot<T, E>, _| {
            let slot = member_ended(&owned, slot, site);
            remove(&owned, place);
            slot
        });
        drop(d.step(arrive, site));
        if self.0.0.borrow().is_decided() {
            member.cancel();
        }
    }

    /// Asks everything it owns to end. What is added later is not asked.
    ///
    /// ```
    /// use thence_core::{Deferred, Scope};
    ///
    /// let scope = Scope::new();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// scope.add(d);
    /// scope.cancel();
    /// assert!(trigger.is_cancelled());
    /// ```
    pub fn cancel(&self) {
        cancel(&self.0.0);
    }

    /// How many of its members have not ended.
    ///
    /// ```
    /// # use thence_core::{Deferred, Scope};
    /// let scope = Scope::new();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// scope.add(d);
    /// assert_eq!(scope.live(), 1);
    /// # trigger.fire(1);
    /// ```
    pub fn live(&self) -> usize {
        self.0.0.borrow().members.len()
    }

    /// Ends when everything that it owns has ended.
    ///
    /// ```
    /// use thence_core::{Deferred, Scope};
    ///
    /// let scope = Scope::new();
    /// let (trigger, d) = Deferred::<u8>::new();
    /// scope.add(d);
    /// let ended = scope.ended();
    /// assert!(!ended.is_ready());
    /// trigger.fire(1);
    /// ended.done(|()| println!("all of it has ended"));
    /// ```
    #[track_caller]
    pub fn ended(&self) -> Deferred<(), Never> {
        let (trigger, d) = Deferred::infallible();
        self.notify(trigger);
        d
    }

    #[track_caller]
    fn enclose<T, F>(self, body: impl FnOnce(Self) -> F) -> Deferred<T>
    where
        T: 'static,
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        let site = Location::caller();
        let block = Deferred::from_future_at(body(self.clone()), site);
        watch_body(&self.0.0, block.canceller());
        let after_body = Then(move |outcome: Outcome<T, Failure>| {
            let outcome = body_ended(&self.0.0, outcome, site);
            // A request that comes now is for what the scope owns; it does not cut the wait.
            let (trigger, ended) = Deferred::infallible();
            let owned = Rc::downgrade(&self.0.0);
            trigger.on_cancel(move || {
                if let Some(owned) = owned.upgrade() {
                    cancel(&owned);
                }
            });
            self.notify(trigger);
            let after_all = Then(move |_: Outcome<(), Never>| {
                let fail_fast = self.0.0.borrow_mut().fail_fast.take();
                drop(self);
                let end = match fail_fast.and_then(|fail_fast| fail_fast.first) {
                    Some(first) => first.map(|never| match never {}),
                    None => outcome,
                };
                Deferred::ready(end.into(), site)
            });
            ended.step(after_all, site)
        });
        block.step(after_body, site)
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
    fn insert(&mut self, member: Canceller) -> u64 {
        self.last += 1;
        self.members.insert(self.last, member);
        self.last
    }
}

impl Owned {
    fn is_decided(&self) -> bool {
        self.fail_fast.as_ref().is_some_and(|fast| fast.is_decided)
    }

    /// Whether what has failed now is the first that did, where that matters.
    fn decide(&mut self) -> bool {
        self.fail_fast.as_mut().is_some_and(|fast| !std::mem::replace(&mut fast.is_decided, true))
    }
}

/// From now on the body is asked to end when a member fails; at once if one has already.
fn watch_body(owned: &RefCell<Owned>, body: Canceller) {
    let mut now = owned.borrow_mut();
    let Some(fast) = &mut now.fail_fast else { return };
    if !fast.is_decided {
        fast.body = Some(body);
        return;
    }
    drop(now);
    body.cancel();
}

/// What the end of the body is to the whole.
fn body_ended<T: 'static>(
    owned: &RefCell<Owned>,
    outcome: Outcome<T, Failure>,
    site: Site,
) -> Outcome<T, Failure> {
    if outcome.is_ok() {
        return outcome;
    }
    let is_late = {
        let mut now = owned.borrow_mut();
        now.fail_fast.is_some() && has_failed(&outcome) && !now.decide()
    };
    cancel(owned);
    if !is_late {
        return outcome;
    }
    discard(outcome.into(), site);
    Outcome::Stop(Stop::Cancelled)
}

/// What the end of a member leaves to be reported.
fn member_ended<T: 'static, E: Fault>(
    owned: &RefCell<Owned>,
    slot: Slot<T, E>,
    site: Site,
) -> Slot<(), E> {
    let has_failed = !slot.is_ok() && !slot.is_cancelled();
    if !has_failed || !owned.borrow_mut().decide() {
        return slot.map(crate::steps::let_go);
    }
    let first = match slot {
        Slot::Ok(_) => unreachable!("a value is no failure"),
        Slot::Err(error, trail) => Outcome::Err(told(error, trail, Step { site, label: None })),
        Slot::Stop(stop) => Outcome::Stop(stop),
    };
    let body = owned.borrow_mut().fail_fast.as_mut().and_then(|fast| {
        fast.first = Some(first);
        fast.body.take()
    });
    cx().enter(|| {
        cancel(owned);
        if let Some(body) = body {
            body.cancel();
        }
    });
    Slot::Ok(())
}

fn has_failed<T, E: Fault>(outcome: &Outcome<T, E>) -> bool {
    !outcome.is_ok() && !outcome.is_cancelled()
}

/// The error of a member, for whoever waits for the whole.
fn told<E: Fault>(error: E, trail: E::Trail, step: Step) -> Failure {
    let mut failure =
        Failure::msg("a member failed, and its error panicked when it was to be told");
    run_guarded(|| failure = error.into_failure(trail));
    failure.passed(&mut (), step);
    failure
}

fn cancel(owned: &RefCell<Owned>) {
    let members: Vec<Canceller> = owned.borrow().members.values().cloned().collect();
    if !members.is_empty() {
        cx().enter(|| members.iter().for_each(Canceller::cancel));
    }
}

fn remove(owned: &RefCell<Owned>, place: u64) {
    let mut now = owned.borrow_mut();
    let member = now.members.remove(&place);
    let waiting =
        if now.members.is_empty() { std::mem::take(&mut now.waiting) } else { Vec::new() };
    drop(now);
    drop(member);
    waiting.into_iter().for_each(|trigger| trigger.fire(()));
}
