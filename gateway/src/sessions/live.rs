//! Sessions with a request in progress, so that one that is ended ends those too (S7).

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use crate::{cut::Switch, session::RowKey};

/// The requests that are in progress, by session.
#[derive(Default)]
pub struct Live {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// In the order they came.
    requests: BTreeMap<u64, Request>,
}

struct Request {
    session: RowKey,
    since: Instant,
    switch: Switch,
}

impl Live {
    /// Has `switch` cut when the session ends before what this gives is dropped.
    pub fn watch(self: &Rc<Self>, session: RowKey, switch: Switch, now: Instant) -> Watching {
        let mut state = self.state.borrow_mut();
        state.next += 1;
        let number = state.next;
        state.requests.insert(number, Request { session, since: now, switch });
        Watching { live: Rc::downgrade(self), number }
    }

    /// The sessions that have had a request in progress for `age`, each once.
    pub fn older_than(&self, age: Duration, now: Instant) -> HashMap<RowKey, Vec<Switch>> {
        let state = self.state.borrow();
        let mut sessions = HashMap::<_, Vec<_>>::new();
        let is_old = |request: &&Request| now.saturating_duration_since(request.since) >= age;
        // Those behind the first that is too young are younger.
        for request in state.requests.values().take_while(is_old) {
            sessions.entry(request.session).or_default().push(request.switch.clone());
        }
        sessions
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.state.borrow().requests.len();
        f.debug_struct("Live").field("requests", &requests).finish()
    }
}

/// A request that is watched. Dropping it ends that.
#[derive(Debug)]
#[must_use = "what is not kept is not watched"]
pub struct Watching {
    live: Weak<Live>,
    number: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let Some(live) = self.live.upgrade() else { return };
        let request = live.state.borrow_mut().requests.remove(&self.number);
        // Its switch may hold bodies.
        drop(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> RowKey {
        RowKey::from_bytes(&[n; 32]).expect("32 bytes")
    }

    #[test]
    fn a_request_is_watched_from_an_age_on_until_it_ends() {
        let live = Rc::<Live>::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let first = live.watch(key(1), Switch::default(), start);
        let _same = live.watch(key(1), Switch::default(), start);
        let _other = live.watch(key(2), Switch::default(), start + second);
        assert_eq!(live.older_than(second, start).len(), 0);
        assert_eq!(live.older_than(second, start + second)[&key(1)].len(), 2);
        assert_eq!(live.older_than(second, start + second * 2).len(), 2);
        drop(first);
        assert_eq!(live.older_than(second, start + second)[&key(1)].len(), 1);
    }
}
