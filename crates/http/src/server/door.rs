//! The places of a server, and who is closed when there is none left.
//!
//! Whoever comes to a full server gets the place of the connection that has been open longest of
//! those with nothing in flight, from the address that has the most. So one address cannot push out
//! the others, and connections that only wait cannot keep out who wants to be served.
//!
//! A request must cost nothing here, so the list of those who can go is allowed to be wrong: who
//! stands in it may be busy by now, and is taken off it only when its turn has come. It is put back
//! at the end of its request. That makes each place that is freed O(log n), on average over the
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
use thence_reactor::{has_reactor, now, sleep};

use super::seat::{Flight, Seat, Standing};

/// The places of a server.
pub(super) struct Door {
    places: usize,
    table: RefCell<Table>,
    /// How many were closed for others, and how many had to wait for a place.
    shed: Cell<u64>,
    waited: Cell<u64>,
    is_waiting: Cell<bool>,
    /// Whether somebody has come who has no place yet.
    is_at_door: Cell<bool>,
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
            is_at_door: Cell::default(),
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

    /// Its connection is gone: the place is free.
    pub(super) fn leave(&self, seat: &Seat) {
        self.table.borrow_mut().remove(seat);
        self.make_known();
    }

    /// Waits until there is a place: somebody leaves, or is closed for it.
    ///
    /// Whoever is closed keeps the place until its connection is gone, which is at once when it had
    /// nothing to do. One that turns out to have a request goes after that; another is closed then.
    pub(super) async fn room(&self) {
        if self.len() < self.places {
            return;
        }
        self.is_at_door.set(true);
        let mut waiting = Waiting { door: self, is_one: false };
        let mut leaves: Option<(Rc<Seat>, Instant)> = None;
        let mut later = sleep(Duration::ZERO);
        poll_fn(|cx| {
            loop {
                if self.len() < self.places || !has_reactor() {
                    return Poll::Ready(());
                }
                self.room.set(Some(cx.waker().clone()));
                let leaving = |(seat, until): &(Rc<Seat>, _)| seat.is_leaving() && now() < *until;
                if !leaves.as_ref().is_some_and(leaving) {
                    leaves = self.evict().map(|seat| (seat, now() + YOUTH));
                    if leaves.is_some() {
                        continue;
                    }
                    waiting.begin();
                    self.log();
                }
                // Who is too young now may be old enough then.
                let next = leaves.as_ref().map(|(_, until)| *until);
                later.reset(next.unwrap_or_else(|| self.table.borrow().next_look()));
                if Pin::new(&mut later).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Has something in a seat changed so that it could be given up?
    pub(super) fn reconsider(&self, seat: &Seat) {
        if seat.standing() == Standing::Out && !seat.is_kept() {
            self.table.borrow_mut().list(seat);
            self.make_known();
        }
    }

    /// Keeps a seat, if its address may keep one more, or keeps it no more. Says whether it is kept.
    pub(super) fn keep(&self, seat: &Seat, is_kept: bool) -> bool {
        let most = (self.places / 8).max(1);
        let mut table = self.table.borrow_mut();
        // One that has left is counted nowhere any more.
        if !table.seats.contains_key(&seat.id()) {
            return false;
        }
        let Some(members) = table.groups.get_mut(&Group::of(seat.peer_addr().ip())) else {
            return false;
        };
        match (seat.is_kept(), is_kept) {
            (false, true) if members.kept < most => members.kept += 1,
            (true, false) => members.kept -= 1,
            (was_kept, _) => return was_kept,
        }
        is_kept
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

    /// Whether somebody has come who has no place yet.
    pub(super) fn is_at_door(&self) -> bool {
        self.is_at_door.get()
    }

    /// Whether there is nobody to close for whoever has come.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.get()
    }

    /// Has somebody who has nothing in flight leave.
    fn evict(&self) -> Option<Rc<Seat>> {
        let seat = self.table.borrow_mut().choose()?;
        self.shed.set(self.shed.get() + 1);
        tracing::debug!("connection of {}: closed to make room for another", seat.peer_addr());
        seat.evict();
        Some(seat)
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

    /// Somebody who has nothing in flight, who is `Leaving` from here on.
    fn choose(&mut self) -> Option<Rc<Seat>> {
        self.ripen();
        let now = now();
        loop {
            // Taken out, so that this ends whatever is in it.
            let Some((_, id, group)) = self.order.pop_first() else {
                if self.ripen() {
                    continue;
                }
                return None;
            };
            self.change(group, |members| {
                members.idle.remove(&id);
            });
            let Some(seat) = self.seats.get(&id).cloned() else { continue };
            seat.stand(Standing::Out);
            if seat.is_kept() {
                continue;
            }
            match seat.flight(now) {
                Flight::Busy => {}
                Flight::Idle => {
                    seat.stand(Standing::Leaving);
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
        seat.stand(Standing::Leaving);
        let group = Group::of(seat.peer_addr().ip());
        self.change(group, |members| {
            members.open -= 1;
            members.kept -= usize::from(seat.is_kept());
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
            debug_assert!(members.idle.is_empty() && members.kept == 0);
            self.groups.remove(&group);
        }
    }
}

/// Somebody who has come; counts them if they have to wait, and tells when that is over, however.
struct Waiting<'a> {
    door: &'a Door,
    is_one: bool,
}

impl Waiting<'_> {
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_one, true) {
            self.door.waited.set(self.door.waited.get() + 1);
            self.door.is_waiting.set(true);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.door.is_waiting.set(false);
        self.door.is_at_door.set(false);
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
