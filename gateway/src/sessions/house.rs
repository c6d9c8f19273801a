//! What is done for the store now and then: uses written, ended sessions removed, requests in
//! progress of ended sessions cut, and a look at whether it answers.

use std::{rc::Rc, time::Duration};

use thence::{Deferred, Failure, Never, after, every, flow, now};

use super::Sessions;
use crate::session::{Found, RowKey, Span, Stamp, Store, StoreError};

impl Sessions {
    /// Does all of that, until the gateway drains.
    pub fn keep_house(self: &Rc<Self>) {
        let touching = self.clone();
        every(TOUCH_EVERY, move || touching.write_touches());
        let sweeping = self.clone();
        every(SWEEP_EVERY, move || sweeping.sweep());
        let checking = self.clone();
        every(CHECK_EVERY, move || checking.check_live());
        let probing = self.clone();
        every(PROBE_EVERY, move || {
            let probing = probing.clone();
            // Several gateways on one disk do not look at the same moment.
            after(jitter()).and_then(move |()| probing.probe())
        });
    }

    /// Goes on while the gateway drains, when nothing is done now and then any more: until `nobody` is
    /// left, what runs for a session that ends is cut, and the last uses are written then.
    pub fn keep_house_until(self: &Rc<Self>, nobody: Deferred<(), Never>) {
        let checking = self.clone();
        let check = flow::<()>(async move {
            loop {
                after(CHECK_EVERY).await;
                checking.check_live().await;
            }
        });
        let checked = check.canceller();
        check.report();
        let sessions = self.clone();
        nobody
            .then(move |_| {
                checked.cancel();
                sessions.write_touches()
            })
            .done(|()| {});
    }

    /// Writes the uses noted so far, in one go (S4).
    pub fn write_touches(self: &Rc<Self>) -> Deferred<(), Never> {
        let seen = self.touches.borrow_mut().take();
        if seen.is_empty() {
            return Deferred::ok(());
        }
        let metrics = self.metrics.clone();
        self.write(move |store| store.touch(&seen))
            .named("touch sessions")
            .map(move |moved| metrics.touched.set(metrics.touched.get() + moved as u64))
            // They are touched again when they are used again.
            .recover(|failure| {
                tracing::warn!("session uses were not written: {}", failure.without_backtrace());
            })
    }

    /// Removes the sessions that ended a while ago (S9), in batches between which others write.
    pub fn sweep(self: &Rc<Self>) -> Deferred<(), Never> {
        let sessions = self.clone();
        flow(async move {
            loop {
                let ended = Stamp::now().before(KEPT_AFTER_END);
                let sweep = sessions.write(move |store| store.sweep(ended));
                let swept = sweep.named("sweep ended sessions").await?;
                let metrics = &sessions.metrics;
                metrics.swept.set(metrics.swept.get() + swept.removed as u64);
                metrics.sweep_due.set(swept.next.map(|next| next.after(KEPT_AFTER_END)));
                if swept.removed < Store::SWEEP || sessions.is_stopping.get() {
                    return Ok(());
                }
                after(SWEEP_PAUSE).await;
            }
        })
        .recover(|failure: Failure| {
            tracing::warn!("ended sessions were not removed: {}", failure.without_backtrace());
        })
    }

    /// Cuts the requests in progress whose session was revoked or has ended (S7). A store that does
    /// not answer cuts nobody (S8).
    ///
    /// A request in progress counts as a use of its session while bytes of it move, in either
    /// direction: somebody who reads a stream is there. One that only waits does not, so a
    /// forgotten stream keeps no session alive.
    pub fn check_live(self: &Rc<Self>) -> Deferred<(), Never> {
        let open: Vec<_> = self.live.older_than(CHECK_EVERY, now()).into_iter().collect();
        let sessions = self.clone();
        flow(async move {
            // Batch by batch, so that requests get in between.
            for batch in open.chunks(super::Desk::KEYS) {
                let at = Stamp::now();
                let asked: Vec<_> =
                    batch.iter().map(|(key, _)| sessions.find(*key).settled()).collect();
                for ((key, requests), asked) in batch.iter().zip(asked) {
                    match asked.await.into_result() {
                        Ok(Found::Live(session)) => {
                            let moved = requests.iter().filter(|one| one.has_moved()).count() > 0;
                            if moved && session.touch {
                                sessions.touches.borrow_mut().note(*key, at);
                            }
                        }
                        Ok(_) => requests.iter().for_each(|request| request.cut()),
                        Err(_) => {}
                    }
                }
            }
            Ok::<_, Failure>(())
        })
        .recover(|failure| {
            tracing::warn!(
                "requests in progress were not checked: {}",
                failure.without_backtrace()
            );
        })
    }

    /// Looks a session up that is not there, as a request would.
    pub fn probe(self: &Rc<Self>) -> Deferred<(), Never> {
        let mut bytes = [0; 32];
        // Any key will do.
        let _ = getrandom::fill(&mut bytes);
        let Some(key) = RowKey::from_bytes(&bytes) else { return Deferred::ok(()) };
        let sessions = self.clone();
        self.find(key)
            .map(|_| None)
            .recover(|failure| Some(trouble(&failure)))
            .map(move |trouble| sessions.health.note(trouble))
    }
}

fn trouble(failure: &Failure) -> String {
    match failure.downcast_ref::<StoreError>() {
        Some(error) => format!("{error}; to do: {}", error.advice()),
        None => format!("{failure:#}"),
    }
}

fn jitter() -> Duration {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(u64::from(byte[0] / 2))
}

const TOUCH_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// What is open for so long is looked at so often: a revocation ends it within a second.
const CHECK_EVERY: Duration = Duration::from_millis(400);
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// For this long a look-up still says `expired` or `revoked` rather than `miss`.
const KEPT_AFTER_END: Span = Span::seconds(3600);
