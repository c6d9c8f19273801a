//! An open connection, as its server and its handlers see it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use thence_core::{Never, Trigger};
use thence_reactor::now;

use super::door::{Door, YOUTH};
use super::rest::Rest;
use crate::io::Line;

/// The connection that a request came by.
#[derive(Clone)]
pub struct ConnectionRef(pub(super) Rc<Seat>);

impl ConnectionRef {
    /// When it was accepted.
    pub fn since(&self) -> Instant {
        self.0.since
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    /// Whether nothing is in flight: no request is being read or answered, and the client has all
    /// that was sent to it.
    pub fn is_idle(&self) -> bool {
        !self.0.rest.is_under_way() && matches!(self.0.flight(now()), Flight::Idle)
    }

    /// Whether it is kept when the server is full: it is not closed to make room for somebody else
    /// while it has nothing in flight. For clients that are known to be worth it, such as those with
    /// a session. An address (of IPv6: a network of 64 bits) keeps an eighth of the places at most;
    /// beyond that it is not kept, whatever is said.
    pub fn keep(&self, is_kept: bool) {
        let Some(door) = self.0.door.upgrade() else { return };
        let is_kept = door.keep(&self.0, is_kept);
        self.0.is_kept.set(is_kept);
        self.0.reconsider();
    }

    /// Whether it is kept.
    pub fn is_kept(&self) -> bool {
        self.0.is_kept.get()
    }
}

impl fmt::Debug for ConnectionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRef")
            .field("peer_addr", &self.0.peer)
            .field("is_idle", &self.is_idle())
            .field("is_kept", &self.is_kept())
            .finish_non_exhaustive()
    }
}

/// The place that a connection has in its server.
pub(super) struct Seat {
    door: Weak<Door>,
    id: u64,
    peer: SocketAddr,
    since: Instant,
    is_kept: Cell<bool>,
    is_evicted: Cell<bool>,
    standing: Cell<Standing>,
    /// Its bytes, once it speaks HTTP.
    line: RefCell<Weak<Line>>,
    pub(super) rest: Rc<Rest>,
    /// Tells the connection that its time is up.
    over: Cell<Option<Trigger<(), Never>>>,
}

/// What a connection has to do.
pub(super) enum Flight {
    Busy,
    Idle,
    /// It is given this time to show.
    Until(Instant),
}

/// Where a seat stands in its server's lists.
///
/// It begins `Young` and is looked at after a while: `Listed` when it has nothing in flight, `Out`
/// when it has. `Listed` goes `Out` when its turn to leave has come and it is busy or kept, and
/// `Young` when it has half a head or its client keeps it waiting. The end of a request lists who
/// is `Out`, and so does a client that begins to keep it waiting.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Standing {
    /// It is being closed, or has been: it is in no list and comes into none.
    Leaving,
    Listed,
    Out,
    Young,
}

impl Seat {
    pub(super) fn new(
        door: Weak<Door>,
        id: u64,
        peer: SocketAddr,
        over: Trigger<(), Never>,
    ) -> Rc<Self> {
        Rc::new(Self {
            door,
            id,
            peer,
            since: now(),
            is_kept: Cell::default(),
            is_evicted: Cell::default(),
            standing: Cell::new(Standing::Young),
            line: RefCell::default(),
            rest: Rc::default(),
            over: Cell::new(Some(over)),
        })
    }

    pub(super) fn speaks(&self, line: &Rc<Line>) {
        self.line.replace(Rc::downgrade(line));
    }

    pub(super) fn flight(&self, now: Instant) -> Flight {
        let line = self.line.borrow().upgrade();
        let is_under_way = self.rest.is_under_way();
        let is_taking = line.as_ref().is_some_and(|line| line.is_sending());
        if is_under_way || is_taking {
            return match self.rest.stuck_since().map(|since| since + STUCK) {
                Some(due) if due <= now => Flight::Idle,
                Some(due) if is_under_way => Flight::Until(due),
                None if is_under_way => Flight::Busy,
                _ => Flight::Until(now + TAKING),
            };
        }
        let has_asked = self.rest.has_asked();
        let begun = if has_asked { line.and_then(|line| line.begun()) } else { Some(self.since) };
        match begun.map(|begun| begun + YOUTH) {
            Some(due) if due > now => Flight::Until(due),
            _ => Flight::Idle,
        }
    }

    /// Something has ended or got stuck, or it is kept no more.
    pub(super) fn reconsider(&self) {
        if self.standing.get() == Standing::Out
            && (!self.rest.is_under_way() || self.rest.stuck_since().is_some())
            && let Some(door) = self.door.upgrade()
        {
            door.reconsider(self);
        }
    }

    /// Notes that the client keeps something waiting, or does no more.
    pub(super) fn waits(&self, note: impl FnOnce(&Rest)) {
        let was_stuck = self.rest.stuck_since().is_some();
        note(&self.rest);
        if !was_stuck && self.rest.stuck_since().is_some() {
            self.reconsider();
        }
    }

    pub(super) fn tell_over(&self) {
        let over = self.over.take();
        if let Some(over) = over {
            over.fire(());
        }
    }

    /// Its place is wanted for somebody else.
    pub(super) fn evict(&self) {
        self.is_evicted.set(true);
        self.tell_over();
        // It may have been told before, and wait for its client.
        self.rest.wake();
    }

    /// Whether it is about to leave, and not kept by a request that was here already.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_evicted.get() && (!self.rest.is_under_way() || self.is_stuck())
    }

    /// Whether its client has kept a request from its end for too long.
    pub(super) fn is_stuck(&self) -> bool {
        self.rest.stuck_since().is_some_and(|since| since + STUCK <= now())
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.get()
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept.get()
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.get()
    }

    pub(super) fn stand(&self, standing: Standing) {
        self.standing.set(standing);
    }
}

/// How long a client may keep a request from its end before it counts as one with nothing in flight.
const STUCK: Duration = Duration::from_secs(10);
/// How long a client is given at a time to take what was sent to it.
const TAKING: Duration = Duration::from_millis(100);
