//! The session store as the loop sees it: look-ups and writes that never block it.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use thence::{Deferred, DeferredExt as _, Failure, Never, QueueFull, now, offload};

use crate::{
    answer::Refusal,
    denied::Denied,
    metrics::{Lookup, Metrics},
    session::{
        Cookie, Found, Presented, RowKey, Session, Span, Stamp, Store, StoreError, cookie,
        touches::Touches,
    },
};

/// How long a look-up may take, waiting for a thread included; then the client is told 503, never
/// 401 (S8, S10).
pub const LOOKUP_DEADLINE: Duration = Duration::from_millis(250);
/// Look-ups that may wait for a thread (S10).
pub const LOOKUP_QUEUE: usize = 256;

/// The store, the uses that are not written yet, and what is counted about both.
#[derive(Debug)]
pub struct Sessions {
    store: Arc<Store>,
    cookie: Cookie,
    metrics: Rc<Metrics>,
    touches: RefCell<Touches>,
    waiting: Arc<AtomicUsize>,
}

impl Sessions {
    /// Sessions of `store`, proved by `cookie`, counted in `metrics`.
    pub fn new(store: Arc<Store>, cookie: Cookie, metrics: Rc<Metrics>) -> Self {
        Self { store, cookie, metrics, touches: RefCell::default(), waiting: Arc::default() }
    }

    /// The session a request's cookie proves. The row is read on the pool; a request without a
    /// cookie, or with one we did not sign, asks nobody (S1, S11).
    pub fn of_cookie(self: &Rc<Self>, headers: &HeaderMap) -> Deferred<Session, Denied> {
        let id = match cookie::presented(headers, self.cookie, self.store.key()) {
            Presented::Signed(id) => id,
            Presented::Nothing => return Deferred::err(Refusal::NoSession.into()),
            Presented::Two => return Deferred::err(Refusal::TwoSessions.into()),
            Presented::Malformed => {
                self.metrics.lookup(Lookup::Malformed, None);
                return Deferred::err(Refusal::NoSession.into());
            }
        };
        let (key, at, began) = (id.row_key(), Stamp::now(), now());
        let (counting, sessions) = (self.clone(), self.clone());
        self.on_pool(move |store| store.find(&key, at))
            .named("read the session's row")
            .timeout(LOOKUP_DEADLINE)
            .inspect_err(move |failure| counting.failed(failure, began))
            .map_err(Denied::because(Refusal::StoreDown))
            .and_then(move |found| sessions.judge(found, key, at, began))
            .named("session of the cookie")
    }

    /// Writes the uses noted so far, in one go (S4).
    pub fn write_touches(self: &Rc<Self>) -> Deferred<(), Never> {
        let seen = self.touches.borrow_mut().take();
        if seen.is_empty() {
            return Deferred::ok(());
        }
        let metrics = self.metrics.clone();
        self.on_pool(move |store| store.touch(&seen))
            .named("touch sessions")
            .map(move |moved| metrics.touched.set(metrics.touched.get() + moved as u64))
            // They are touched again when they are used again.
            .recover(|failure| {
                tracing::warn!("session uses were not written: {}", failure.without_backtrace())
            })
    }

    /// Removes a batch of sessions that ended a while ago (S9).
    pub fn sweep(self: &Rc<Self>) -> Deferred<(), Never> {
        let metrics = self.metrics.clone();
        let ended = Stamp::now().before(KEPT_AFTER_END);
        self.on_pool(move |store| store.sweep(ended))
            .named("sweep ended sessions")
            .map(move |swept| metrics.swept.set(metrics.swept.get() + swept as u64))
            .recover(|failure| {
                tracing::warn!("ended sessions were not removed: {}", failure.without_backtrace())
            })
    }

    /// Whether the store answers.
    pub fn probe(self: &Rc<Self>) -> Deferred<()> {
        self.on_pool(Store::probe).named("probe the session store").timeout(LOOKUP_DEADLINE)
    }

    /// Jobs of ours that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn on_pool<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Deferred<T> {
        let (store, waits) = (self.store.clone(), Waits::begin(&self.waiting));
        offload(move || {
            drop(waits);
            Ok(ask(&store)?)
        })
    }

    fn judge(
        &self,
        found: Found,
        key: RowKey,
        at: Stamp,
        began: std::time::Instant,
    ) -> Result<Session, Denied> {
        let (result, verdict) = match found {
            Found::Live(session) => {
                if session.touch {
                    self.touches.borrow_mut().note(key, at);
                }
                (Lookup::Hit, Ok(session))
            }
            Found::Expired => (Lookup::Expired, Err(Refusal::NoSession.into())),
            Found::Missing => (Lookup::Miss, Err(Refusal::NoSession.into())),
            Found::Revoked => (Lookup::Revoked, Err(Refusal::NoSession.into())),
        };
        self.metrics.lookup(result, Some(now().saturating_duration_since(began)));
        verdict
    }

    fn failed(&self, failure: &Failure, began: std::time::Instant) {
        let shed = failure.is::<QueueFull>() || failure.is::<thence::Elapsed>();
        let result = if shed { Lookup::Shed } else { Lookup::Error };
        self.metrics.lookup(result, Some(now().saturating_duration_since(began)));
    }
}

/// Counts a job from its queueing until it runs, or is dropped from the queue.
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For this long a look-up still says `expired` or `revoked` rather than `miss`.
const KEPT_AFTER_END: Span = Span::seconds(3600);
