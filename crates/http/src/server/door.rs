//! The places of a server, and who gives up a place when there is none left.
//!
//! Whoever comes to a full server gets the place of the connection that has been open longest of
//! those with nothing in flight, from the address that has the most. So one address cannot push out
//! the others, and connections that only wait cannot keep out who wants to be served.
//!
//! A request must cost nothing here, so the list of those who can go is allowed to be wrong: who
//! stands in it may be busy by now, and is taken off it only when its turn has come. It is put back
//! at the end of its request. That makes each place that is given up O(log n), on average over the
//! requests that made the list wrong.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use thence_core::{Never, Trigger};
use thence_reactor::{now, sleep};

use super::seat::{Flight, Seat, Standing};

/// The places of a server.
pub(super) struct Door {
    places: usize,
    table: RefCell<Table>,
    /// How many gave up their place, and how many had to wait for one.
    shed: Cell<u64>,
    waited: Cell<u64>,
    is_waiting: Cell<bool>,
    /// Woken when a place may have become free.
    room: Cell<Option<Waker>>,
    logged: Cell<Option<Instant>>,
}

#[derive(Default)]
struct Table {
    next: u64,
    seats: HashMap<u64, Rc<Seat>>,
    groups: HashMap<Group, Members>,
    /// The groups with somebody in their list: the largest first, and of equal ones that with the
    /// oldest connection.
    order: BTreeSet<(Reverse<usize>, u64, Group)>,
    /// Those that are to be looked at from a moment on.
    young: BTreeSet<(Instant, u64)>,
}

/// Who is taken to be one client: an address, or a network of IPv6.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Group(u128);

#[derive(Default)]
struct Members {
    open: usize,
    kept: usize,
    /// Those that seem to have nothing in flight, the oldest first.
    idle: BTreeSet<u64>,
}

impl Door {
    pub(super) fn new(places: usize) -> Rc<Self> {
        Rc::new(Self {
            places,
            table: RefCell::default(),
            shed: Cell::default(),
            waited: Cell::default(),
            is_waiting: Cell::default(),
            room: Cell::default(),
            logged: Cell::default(),
        })
    }

    /// Takes a place.
    pub(super) fn enter(self: &Rc<Self>, peer: SocketAddr, over: Trigger<(), Never>) -> Rc<Seat> {
        let mut table = self.table.borrow_mut();
        table.ripen();
        let id = table.next;
        table.next += 1;
        let seat = Seat::new(Rc::downgrade(self), id, peer, over);
        table.seats.insert(id, seat.clone());
        table.change(Group::of(peer.ip()), |members| members.open += 1);
        table.young.insert((seat.since() + YOUTH, id));
        seat
    }

    /// Gives a place back, unless it was given up.
    pub(super) fn leave(&self, seat: &Seat) {
        self.table.borrow_mut().remove(seat);
        self.make_known();
    }

    /// Waits until there is a place: somebody leaves, or gives up theirs.
    pub(super) async fn room(&self) {
        if self.has_room() {
            return;
        }
        self.waited.set(self.waited.get() + 1);
        self.is_waiting.set(true);
        let mut later = sleep(Duration::ZERO);
        poll_fn(|cx| {
            loop {
                if self.has_room() {
                    return Poll::Ready(());
                }
                self.log();
                self.room.set(Some(cx.waker().clone()));
                // Who is too young now may be old enough then.
                later.reset(self.table.borrow().next_look());
                if Pin::new(&mut later).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        self.is_waiting.set(false);
    }

    /// Has something in a seat changed so that it could be given up?
    pub(super) fn reconsider(&self, seat: &Seat) {
        if seat.standing() == Standing::Out && !seat.is_kept() {
            self.table.borrow_mut().list(seat);
            self.make_known();
        }
    }

    /// Whether one more of its address can be kept; then it counts as kept.
    pub(super) fn keeps(&self, seat: &Seat) -> bool {
        let most = (self.places / 8).max(1);
        let mut table = self.table.borrow_mut();
        let Some(members) = table.groups.get_mut(&Group::of(seat.peer_addr().ip())) else {
            return false;
        };
        let is_kept = members.kept < most;
        members.kept += usize::from(is_kept);
        is_kept
    }

    pub(super) fn keeps_no_more(&self, seat: &Seat) {
        let mut table = self.table.borrow_mut();
        if let Some(members) = table.groups.get_mut(&Group::of(seat.peer_addr().ip())) {
            members.kept = members.kept.saturating_sub(1);
        }
    }

    /// Tells every connection that its time is up.
    pub(super) fn tell_all(&self) {
        let seats: Vec<_> = self.table.borrow().seats.values().cloned().collect();
        seats.iter().for_each(|seat| seat.tell_over());
    }

    pub(super) fn len(&self) -> usize {
        self.table.borrow().seats.len()
    }

    pub(super) fn shed(&self) -> u64 {
        self.shed.get()
    }

    pub(super) fn waited(&self) -> u64 {
        self.waited.get()
    }

    /// Whether somebody stands at the door.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.get()
    }

    fn has_room(&self) -> bool {
        if self.len() < self.places {
            return true;
        }
        let given_up = self.table.borrow_mut().give_up();
        let Some(seat) = given_up else { return false };
        self.shed.set(self.shed.get() + 1);
        tracing::debug!("connection of {}: closed to make room for another", seat.peer_addr());
        seat.give_up();
        true
    }

    fn make_known(&self) {
        let room = self.room.take();
        if let Some(room) = room {
            room.wake();
        }
    }

    /// At most once a second.
    fn log(&self) {
        let now = now();
        if self.logged.get().is_none_or(|last| now - last >= LOG_EVERY) {
            self.logged.set(Some(now));
            tracing::warn!(
                "all {} connections are in use, and none can be closed for another: who comes waits",
                self.places
            );
        }
    }
}

impl Table {
    /// Looks at some of those who are old enough by now, and says whether there were any.
    fn ripen(&mut self) -> bool {
        let now = now();
        for n in 0..LOOKS {
            let Some((due, id)) = self.young.first().copied().filter(|(due, _)| *due <= now) else {
                return n > 0;
            };
            self.young.remove(&(due, id));
            let Some(seat) = self.seats.get(&id).cloned() else { continue };
            match seat.flight(now) {
                Flight::Busy => seat.stand(Standing::Out),
                Flight::Idle => self.list(&seat),
                Flight::Until(due) => drop(self.young.insert((due, id))),
            }
        }
        true
    }

    /// When somebody will be old enough.
    fn next_look(&self) -> Instant {
        let latest = now() + YOUTH;
        self.young.first().map_or(latest, |(due, _)| latest.min(*due))
    }

    /// Takes the place of somebody who has nothing in flight.
    fn give_up(&mut self) -> Option<Rc<Seat>> {
        self.ripen();
        let now = now();
        loop {
            let Some((_, id, group)) = self.order.first().copied() else {
                if self.ripen() {
                    continue;
                }
                return None;
            };
            let seat = self.seats.get(&id).cloned();
            self.change(group, |members| {
                members.idle.remove(&id);
            });
            let Some(seat) = seat else { continue };
            seat.stand(Standing::Out);
            if seat.is_kept() {
                continue;
            }
            match seat.flight(now) {
                Flight::Busy => {}
                Flight::Idle => {
                    self.remove(&seat);
                    return Some(seat);
                }
                Flight::Until(due) => {
                    seat.stand(Standing::Young);
                    self.young.insert((due, id));
                }
            }
        }
    }

    fn list(&mut self, seat: &Seat) {
        seat.stand(Standing::Listed);
        let id = seat.id();
        self.change(Group::of(seat.peer_addr().ip()), |members| {
            members.idle.insert(id);
        });
    }

    fn remove(&mut self, seat: &Seat) {
        let id = seat.id();
        if self.seats.remove(&id).is_none() {
            return;
        }
        let group = Group::of(seat.peer_addr().ip());
        self.change(group, |members| {
            members.open -= 1;
            members.kept -= usize::from(seat.is_kept() && members.kept > 0);
            members.idle.remove(&id);
        });
    }

    /// Changes a group, and its place in the order.
    fn change(&mut self, group: Group, change: impl FnOnce(&mut Members)) {
        let members = self.groups.entry(group).or_default();
        if let Some(oldest) = members.idle.first() {
            self.order.remove(&(Reverse(members.open), *oldest, group));
        }
        change(members);
        if let Some(oldest) = members.idle.first() {
            self.order.insert((Reverse(members.open), *oldest, group));
        }
        if members.open == 0 {
            self.groups.remove(&group);
        }
    }
}

impl Group {
    /// Of IPv6 a client has a whole network of 64 bits.
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits().into()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// How long a connection may take for its first head, or for the rest of another, before it counts
/// as one with nothing in flight.
pub(super) const YOUTH: Duration = Duration::from_secs(1);
/// How many are looked at for each that comes: more than come, and not all at once.
const LOOKS: usize = 64;
const LOG_EVERY: Duration = Duration::from_secs(1);
