//! The session store as the loop sees it: look-ups and writes that never block it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use thence::{Deferred, Failure, Interrupt, Lock, Outcome, after, now, offload};

pub use self::{
    desk::{Crowded, Desk},
    health::Health,
    live::{Live, Watching},
};
use crate::{
    answer::Refusal,
    cut::Switch,
    denied::Denied,
    metrics::{Lookup, Metrics},
    session::{
        Cookie, Found, Presented, RowKey, Session, Stamp, Store, StoreError, cookie,
        touches::Touches,
    },
};

mod desk;
mod health;
mod house;
mod live;

/// How long a look-up may take, waiting for its batch included; then the client is told 503, never
/// 401 (S8, S10).
pub const LOOKUP_DEADLINE: Duration = Duration::from_millis(250);

/// The store, the uses that are not written yet, and what is counted about both.
#[derive(Debug)]
pub struct Sessions {
    store: Rc<RefCell<Arc<Store>>>,
    cookie: Cookie,
    metrics: Rc<Metrics>,
    touches: RefCell<Touches>,
    desk: Rc<Desk>,
    live: Rc<Live>,
    health: Health,
    /// One writer at a time: the others would hold threads of the pool and wait (S9).
    writing: Lock,
    is_stopping: Cell<bool>,
}

impl Sessions {
    /// Sessions of `store`, proved by `cookie`, counted in `metrics`.
    pub fn new(store: Arc<Store>, cookie: Cookie, metrics: Rc<Metrics>) -> Self {
        let store = Rc::new(RefCell::new(store));
        let asked = store.clone();
        let desk = Desk::new(move |keys| {
            let store = asked.borrow().clone();
            let at = Stamp::now();
            offload(move || {
                let found = store.find_all(&keys, at)?;
                Ok(found.into_iter().map(|found| found.map_err(Failure::from)).collect())
            })
        });
        Self {
            store,
            cookie,
            metrics,
            touches: RefCell::default(),
            desk,
            live: Rc::default(),
            health: Health::begin(),
            writing: Lock::new(()),
            is_stopping: Cell::new(false),
        }
    }

    /// The cookie that proves a session here.
    pub fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// The session a request's cookie proves. The row is read on the pool; a request without a
    /// cookie, or with one we did not sign, asks nobody (S1, S11).
    pub fn of_cookie(self: &Rc<Self>, headers: &HeaderMap) -> Deferred<Session, Denied> {
        let id = match cookie::presented(headers, self.cookie, self.store.borrow().key()) {
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
        self.find(key)
            .inspect_err(move |failure| counting.failed(failure, began))
            .map_err(Denied::because(Refusal::StoreDown))
            .and_then(move |found| sessions.judge(found, key, at, began))
            .named("session of the cookie")
    }

    /// Has `switch` cut within a second after the session has ended, unless what this gives is
    /// dropped before.
    pub fn watch(&self, session: &Session, switch: Switch) -> Watching {
        self.live.watch(session.key, switch, now())
    }

    /// Opens the store anew: what is at its path now is used from then on. If that fails the old
    /// one stays.
    pub fn reopen(self: &Rc<Self>) -> Deferred<()> {
        let path = self.store.borrow().path().to_owned();
        let sessions = self.clone();
        offload(move || Ok(Store::open_existing(&path)?))
            .named("open the session store anew")
            .and_then(move |store| {
                let old = sessions.store.replace(Arc::new(store));
                sessions.desk.begin_anew();
                let probe = sessions.probe();
                // Closing it writes to the disk.
                offload(move || {
                    drop(old);
                    Ok(())
                })
                .and_then(move |()| probe.map_err(|never| match never {}))
            })
    }

    /// Whether the store answers, as it was seen last.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Look-ups that have not been answered.
    pub fn waiting(&self) -> usize {
        self.desk.waiting()
    }

    /// The gateway stops: what has no end of its own ends.
    pub fn stop(&self) {
        self.is_stopping.set(true);
    }

    fn find(&self, key: RowKey) -> Deferred<Found> {
        let (interrupt, found) = self.desk.find(key).named("look the session up").interruptible();
        let deadline = after(LOOKUP_DEADLINE);
        let unset = deadline.canceller();
        interrupt.on_over(move || unset.cancel());
        deadline.done(move |()| give_up(interrupt, LATE_TURNS));
        found
    }

    fn write<T: Send + 'static>(
        &self,
        say: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Deferred<T> {
        let store = self.store.clone();
        self.writing.run(move |()| {
            let store = store.borrow().clone();
            offload(move || Ok(say(&store)?))
        })
    }

    fn judge(
        &self,
        found: Found,
        key: RowKey,
        at: Stamp,
        began: Instant,
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

    fn failed(&self, failure: &Failure, began: Instant) {
        let shed = failure.is::<Crowded>() || failure.is::<Late>();
        let result = if shed { Lookup::Shed } else { Lookup::Error };
        self.metrics.lookup(result, Some(now().saturating_duration_since(began)));
    }
}

/// Ends a look-up whose time is up, after some turns of the loop (what is due at once is in the
/// next): an answer that waits for a loop with much to do is no store that does not answer.
fn give_up(interrupt: Interrupt<Found, Failure>, turns: u32) {
    match turns.checked_sub(1) {
        Some(turns) => after(Duration::ZERO).done(move |()| give_up(interrupt, turns)),
        None => interrupt.settle(Outcome::Err(Late.into())),
    }
}

/// The store did not answer within [`LOOKUP_DEADLINE`].
#[derive(Clone, Copy, Debug)]
pub struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session store did not answer within {LOOKUP_DEADLINE:?}")
    }
}

impl std::error::Error for Late {}

/// Enough for the batch before, for its own, and for the answers of both.
const LATE_TURNS: u32 = 4;
