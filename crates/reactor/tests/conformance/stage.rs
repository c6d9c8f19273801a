//! A reactor under test.

use std::time::Duration;

use thence_core::{Deferred, Failure, hosting, unhandled};
use thence_reactor::{Live, Reactor, now};

use crate::{
    common::{Watched, watch},
    count::{Count, alone},
    drivers::Tested,
};

/// A reactor on one of the drivers, whoever is on both ends of its connections.
pub struct Stage {
    reactor: Option<Reactor>,
}

/// Runs `body` on a reactor of its own, and counts what is left.
pub fn check<D: Tested>(body: impl FnOnce(&mut Stage)) {
    let _alone = alone();
    let (before, live, reports) = (Count::now(), hosting::live(), unhandled());
    let (driver, _outside) = D::make();
    let reactor = Reactor::builder().driver(driver).build().unwrap();
    let mut stage = Stage { reactor: Some(reactor) };
    body(&mut stage);
    if stage.reactor.is_some() {
        stage.settle();
        assert_eq!(stage.live(), Live::default(), "something is left");
    }
    drop(stage);
    let left = hosting::live();
    assert_eq!((left.flows, left.steps, left.nodes), (live.flows, live.steps, live.nodes));
    assert_eq!(unhandled(), reports, "something went unhandled");
    drop(_outside);
    assert_eq!(Count::now(), before, "descriptors or buffers were leaked");
}

impl Stage {
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor.as_mut().expect("it was not dropped")
    }

    pub fn live(&self) -> Live {
        self.reactor.as_ref().expect("it was not dropped").live()
    }

    pub fn drop_reactor(&mut self) {
        self.reactor = None;
    }

    pub fn turn(&mut self) {
        self.reactor().turn(Some(Duration::ZERO)).unwrap();
    }

    /// Waits, as for ever, for a wake that comes or came; the manual driver cannot wait.
    #[track_caller]
    pub fn wait_for_wake(&mut self) {
        if self.reactor().as_fd().is_none() {
            return self.turn();
        }
        let before = now();
        self.reactor().turn(Some(PATIENCE)).unwrap();
        assert!(now() < before + PATIENCE, "it slept through");
    }

    /// Everything that happens without waiting.
    pub fn settle(&mut self) {
        (0..20).for_each(|_| self.turn());
    }

    /// Turns until `watched` has ended.
    #[track_caller]
    pub fn until<T: 'static>(&mut self, watched: &Watched<T, Failure>) {
        let limit = now() + PATIENCE;
        while !watched.has_ended() {
            assert!(now() < limit, "it does not end");
            self.reactor().turn(Some(PATIENCE / 4)).unwrap();
        }
    }

    /// What `deferred` ends with.
    #[track_caller]
    pub fn ok<T: 'static>(&mut self, deferred: Deferred<T>) -> T {
        let watched = watch(deferred);
        self.until(&watched);
        watched.ok()
    }

    #[track_caller]
    pub fn err<T: 'static>(&mut self, deferred: Deferred<T>) -> Failure {
        let watched = watch(deferred);
        self.until(&watched);
        watched.err()
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
