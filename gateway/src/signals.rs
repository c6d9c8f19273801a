//! The signals that tell a running gateway something, none of which ends it.
//!
//! | signal | what it does |
//! |---|---|
//! | SIGHUP | opens the session store anew, and reads the certificate and its key again |
//! | SIGUSR1 | opens the log file anew, for whoever has renamed it |
//! | SIGUSR2 | logs what is unfinished |

use std::{collections::BTreeMap, rc::Rc};

use thence::{
    Deferred, Never, Signal, core::hosting, flow, offload, reactor::net::tls::Certificates, signal,
};

use crate::{log_writer::LogWriter, metrics::Metrics, sessions::Sessions};

/// The signals, from the moment on at which they no longer do what they do by default.
#[derive(Debug)]
pub struct Signals {
    hangup: Deferred<(), Never>,
    user1: Deferred<(), Never>,
    user2: Deferred<(), Never>,
}

impl Signals {
    /// Watches them from now on. One that comes before [`obey`](Self::obey) is obeyed then.
    pub fn watch() -> Self {
        Self {
            hangup: signal(Signal::Hangup),
            user1: signal(Signal::User1),
            user2: signal(Signal::User2),
        }
    }

    /// Does what they say until the gateway drains.
    pub fn obey(
        self,
        certificates: Option<Certificates>,
        sessions: Rc<Sessions>,
        log: LogWriter,
        is_log_a_file: bool,
        metrics: Rc<Metrics>,
    ) {
        each(Signal::Hangup, self.hangup, move || reload(certificates.clone(), &sessions));
        each(Signal::User1, self.user1, move || {
            if is_log_a_file {
                log.reopen();
            } else {
                tracing::info!("SIGUSR1: the log is standard error, nothing to open anew");
            }
            Deferred::ok(())
        });
        each(Signal::User2, self.user2, move || {
            dump(&metrics);
            Deferred::ok(())
        });
    }
}

/// Does `f` for the `first` arrival of a signal and for each that follows.
fn each(which: Signal, first: Deferred<(), Never>, f: impl Fn() -> Deferred<(), Never> + 'static) {
    flow::<()>(async move {
        first.await;
        loop {
            f().await;
            signal(which).await;
        }
    })
    .report();
}

/// Opens the store and reads the certificate again. What is wrong with them is said, and what was
/// used before is used on; connections go on either way.
fn reload(certificates: Option<Certificates>, sessions: &Rc<Sessions>) -> Deferred<(), Never> {
    let store = sessions
        .reopen()
        .map(|()| tracing::info!("SIGHUP: the session store is opened anew"))
        .recover(|failure| tracing::error!("SIGHUP: the old session store stays: {failure:#}"));
    let Some(certificates) = certificates else { return store };
    // A slow disk must not hold the loop up.
    let certificate = offload(move || Ok(certificates.reload()?))
        .map(|()| tracing::info!("SIGHUP: certificate and key are read again"))
        .recover(|failure| tracing::error!("SIGHUP: the old certificate stays: {failure}"));
    store.and_then(|()| certificate)
}

/// Logs what has not ended, with the place in the program where it waits.
fn dump(metrics: &Metrics) {
    let mut places = BTreeMap::new();
    for one in hosting::unfinished() {
        let place = one.waiter.unwrap_or(one.site).to_string();
        *places.entry(place).or_insert(0_usize) += 1;
    }
    let in_flight = metrics.in_flight.get();
    tracing::info!(in_flight, places = places.len(), "SIGUSR2: what is unfinished");
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (place, count) in places.into_iter().take(SHOWN) {
        tracing::info!(count, "unfinished at {place}");
    }
}

/// Places that are shown, those at which most is waiting first.
const SHOWN: usize = 50;
