//! Blocking and heavy work, on the reactor's pool of threads.

use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use thence_core::{Deferred, Failure, FlowContext, Outcome, RemoteContext, Stop, Trigger, hosting};

use crate::{hub::Hub, jobs::Jobs};

/// Runs `f` on another thread, for what blocks (files, a database) or computes for long.
///
/// A job that was cancelled before it started leaves the queue and ends `Stop(Cancelled)`; one that
/// has started runs to its end, which stands. A panic in it is `Stop(Panicked)`.
///
/// It runs in the context of the code that called: request id, span and flow-locals.
///
/// ```
/// # thence_reactor::run(async {
/// let text = thence_reactor::offload(|| Ok(std::fs::read_to_string("/proc/self/stat")?)).await?;
/// assert!(!text.is_empty());
/// # Ok(()) }).unwrap();
/// ```
///
/// # Errors
///
/// The Deferred fails with what `f` fails with, or with [`QueueFull`] when too many jobs wait:
/// more work than the pool can do is something to say to whoever asks for it.
/// [`offload_when_free`] waits instead.
///
/// # Panics
///
/// When this thread has no reactor.
#[doc(alias = "deferToThread")]
#[doc(alias = "spawn_blocking")]
#[track_caller]
pub fn offload<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static, // write `move || Ok(f(argument))`
) -> Deferred<T> {
    let hub = Hub::current("offload");
    if !hub.jobs.has_room() {
        return Deferred::err(Failure::from(QueueFull));
    }
    let (trigger, deferred) = Deferred::new();
    let id = hub.jobs.reserve();
    let jobs = hub.jobs.clone();
    trigger.on_cancel(move || drop(jobs.remove(id)));
    start(&hub.jobs, id, trigger, FlowContext::current().remote(), f);
    deferred
}

/// As [`offload`], but where the queue is full waits for room, in the order of the calls.
///
/// Whoever produces without end should not use this: what waits here has no bound.
///
/// # Panics
///
/// When this thread has no reactor.
#[track_caller]
pub fn offload_when_free<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Deferred<T> {
    when_free(&Hub::current("offload_when_free"), f)
}

/// As [`offload_when_free`], on the pool of a source's own reactor; without that it ends
/// `Stop(Cancelled)`.
#[track_caller]
pub(crate) fn when_free<T: Send + 'static>(
    hub: &Rc<Hub>,
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Deferred<T> {
    if !hub.is_alive() {
        return Deferred::ended(Outcome::Stop(Stop::Cancelled));
    }
    let (trigger, deferred) = Deferred::new();
    let id = hub.jobs.reserve();
    let weak = Rc::downgrade(hub);
    let begun = Rc::new(Cell::new(false));
    let has_begun = begun.clone();
    trigger.on_cancel(move || {
        let Some(hub) = weak.upgrade() else { return };
        if has_begun.get() {
            drop(hub.jobs.remove(id));
        } else {
            let mut waiting = hub.waiting.borrow_mut();
            let place = waiting.iter().position(|waiting| waiting.id == id);
            let left = place.and_then(|place| waiting.remove(place));
            drop(waiting);
            drop(left);
        }
    });
    let context = FlowContext::current().remote();
    let begin = Box::new(move |jobs: &Jobs| {
        begun.set(true);
        start(jobs, id, trigger, context, f);
    });
    hub.waiting.borrow_mut().push_back(Waiting { id, begin });
    admit(hub);
    deferred
}

/// The queue of jobs is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the queue of the offload pool is full: the pool is slower than what is asked of it",
        )
    }
}

impl std::error::Error for QueueFull {}

/// A job that waits for room in the queue.
pub(crate) struct Waiting {
    id: u64,
    begin: Box<dyn FnOnce(&Jobs)>,
}

/// Queues a job; there is room for it.
fn start<T: Send + 'static>(
    jobs: &Jobs,
    id: u64,
    trigger: Trigger<T>,
    context: RemoteContext,
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) {
    let remote = trigger.remote();
    let job = move || {
        remote.settle(match catch_unwind(AssertUnwindSafe(|| context.enter(f))) {
            Ok(result) => result.into(),
            Err(payload) => Outcome::Stop(Stop::panicked(payload)),
        });
    };
    if jobs.push(id, Box::new(job)).is_err() {
        // There was room, so there is no thread: its drop ends the Deferred, Lost.
        tracing::error!("no thread can be started for an offloaded job");
    }
}

/// Queues what waits, as far as there is room, and comes back when there is more.
fn admit(hub: &Rc<Hub>) {
    while hub.jobs.has_room() {
        let next = hub.waiting.borrow_mut().pop_front();
        let Some(next) = next else { return };
        (next.begin)(&hub.jobs);
    }
    if hub.waiting.borrow().is_empty() {
        return;
    }
    let inbox = hosting::inbox();
    hub.jobs.when_room(move || {
        // Told on the thread that took a job. Closed means that nobody waits any more.
        let _ = inbox.post(Box::new(|| {
            if let Some(hub) = Hub::try_current() {
                admit(&hub);
            }
        }));
    });
}
