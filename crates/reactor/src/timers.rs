//! Timers: a hierarchical wheel of one-millisecond ticks.
//!
//! Adding and cancelling touch one slot. Whatever is due within the running tick is in a heap of
//! its own, ordered by deadline and then by creation; so nothing fires early, not even by a part
//! of a tick, and what fires is strictly in order. An entry moves from a coarse slot to a finer one
//! at most once a level, and there are eight levels of 64 slots.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::driver::{Arena, Key};

/// What is to happen, and when. Times are nanoseconds of the reactor's clock.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    entries: Arena<Entry<T>>,
    levels: [Level; LEVELS],
    /// Everything of a tick that has begun, soonest first. A cancelled entry stays in here, as a
    /// key that names nothing, until its time.
    near: BinaryHeap<Reverse<(u64, u64, Key)>>,
    /// The tick that has begun.
    tick: u64,
    /// How many timers were ever added.
    created: u64,
}

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    created: u64,
    place: Place,
    what: T,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Near,
    Slot { level: u8, slot: u8, before: Option<Key>, after: Option<Key> },
}

#[derive(Debug)]
struct Level {
    /// One bit for each slot that is not empty.
    occupied: u64,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    first: Option<Key>,
    /// No entry of the slot is due before this; a cancelled one may have been.
    soonest: u64,
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Self {
        Wheel {
            entries: Arena::new(),
            levels: [const { Level { occupied: 0, slots: [EMPTY; SLOTS] } }; LEVELS],
            near: BinaryHeap::new(),
            tick: 0,
            created: 0,
        }
    }

    #[cfg(test)]
    fn add(&mut self, deadline: u64, what: T) -> Key {
        self.add_with(deadline, |_| what)
    }

    /// Adds a timer of what `what` makes of its key. One whose deadline has passed is due at once,
    /// in its place in the order.
    pub(crate) fn add_with(&mut self, deadline: u64, what: impl FnOnce(Key) -> T) -> Key {
        let created = self.created;
        self.created += 1;
        let key = self.entries.insert_with(|key| {
            let what = what(key);
            Entry { deadline, created, place: Place::Near, what }
        });
        self.place(key);
        key
    }

    /// Takes a timer out; `None` when it has fired or was taken out before.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.remove(key)?;
        if let Place::Slot { level, slot, before, after } = entry.place {
            match before {
                Some(before) => self.link(before).1.clone_from(&after),
                None => {
                    let level = &mut self.levels[usize::from(level)];
                    level.slots[usize::from(slot)].first = after;
                    if after.is_none() {
                        level.occupied &= !(1 << slot);
                    }
                }
            }
            if let Some(after) = after {
                self.link(after).0.clone_from(&before);
            }
        } else if self.entries.is_empty() {
            self.near.clear();
        }
        Some(entry.what)
    }

    /// What a timer holds; `None` when it is gone.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key).map(|entry| &mut entry.what)
    }

    /// The next timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<T> {
        loop {
            self.turn_to(now / TICK);
            let &Reverse((deadline, _, key)) = self.near.peek()?;
            if deadline > now && self.entries.get(key).is_some() {
                return None;
            }
            self.near.pop();
            if let Some(entry) = self.entries.remove(key) {
                return Some(entry.what);
            }
        }
    }

    /// When the next timer may be due: never later than it is.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        while let Some(&Reverse((deadline, _, key))) = self.near.peek() {
            if self.entries.get(key).is_some() {
                return Some(deadline);
            }
            self.near.pop();
        }
        let (level, slot) = self.first_occupied()?;
        Some(self.levels[level].slots[slot].soonest)
    }

    /// How many timers are set.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes out everything, in order.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        let mut all = std::mem::replace(self, Self::new());
        std::iter::from_fn(|| all.pop_due(u64::MAX)).collect()
    }

    /// Puts an entry where its deadline belongs, seen from the tick that has begun.
    fn place(&mut self, key: Key) {
        let tick = self.tick;
        let entry = self.entries.get_mut(key).expect("only what is there is placed");
        let due = entry.deadline / TICK;
        if due <= tick {
            entry.place = Place::Near;
            self.near.push(Reverse((entry.deadline, entry.created, key)));
            return;
        }
        // The highest digit, to base 64, in which the two ticks differ.
        let level = (due ^ tick).ilog2() / SLOT_BITS;
        let slot = due >> (level * SLOT_BITS) & SLOT_MASK;
        let (level, slot) = (level as u8, slot as u8);
        let deadline = entry.deadline;
        let row = &mut self.levels[usize::from(level)];
        let head = &mut row.slots[usize::from(slot)];
        let after = head.first.replace(key);
        head.soonest = if after.is_some() { head.soonest.min(deadline) } else { deadline };
        row.occupied |= 1 << slot;
        entry.place = Place::Slot { level, slot, before: None, after };
        if let Some(after) = after {
            *self.link(after).0 = Some(key);
        }
    }

    /// Begins a tick: everything of this tick and those before it goes to the heap.
    fn turn_to(&mut self, tick: u64) {
        while let Some((level, slot)) = self.first_occupied() {
            let shift = level as u32 * SLOT_BITS;
            let above = self.tick >> shift >> SLOT_BITS << SLOT_BITS << shift;
            let start = above | (slot as u64) << shift;
            if start > tick {
                break;
            }
            // A slot's first tick: entries of it are in the tick that has begun, all others in
            // finer slots.
            self.tick = self.tick.max(start);
            self.levels[level].occupied &= !(1 << slot);
            let mut next = self.levels[level].slots[slot].first.take();
            while let Some(key) = next {
                next = *self.link(key).1;
                self.place(key);
            }
        }
        self.tick = self.tick.max(tick);
    }

    /// The slot that comes next. All of a finer level comes before anything of a coarser one.
    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        Some((level, self.levels[level].occupied.trailing_zeros() as usize))
    }

    /// The neighbours of an entry in a slot.
    fn link(&mut self, key: Key) -> (&mut Option<Key>, &mut Option<Key>) {
        match self.entries.get_mut(key).map(|entry| &mut entry.place) {
            Some(Place::Slot { before, after, .. }) => (before, after),
            _ => unreachable!("a slot links entries that are in it"),
        }
    }
}

/// Nanoseconds.
const TICK: u64 = 1_000_000;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;

/// 64^8 ticks are more than the 584 years that 64 bits of nanoseconds can say.
const LEVELS: usize = 8;

const EMPTY: Slot = Slot { first: None, soonest: u64::MAX };

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn due(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop_due(now)).collect()
    }

    #[test]
    fn fires_by_deadline_and_then_by_creation() {
        let mut wheel = Wheel::new();
        for (n, deadline) in [(0, 30), (1, 10), (2, 30), (3, 20), (4, 10)] {
            wheel.add(deadline * MS, n);
        }
        assert_eq!(due(&mut wheel, 100 * MS), [1, 4, 3, 0, 2]);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn is_not_early_by_a_part_of_a_tick() {
        let mut wheel = Wheel::new();
        wheel.add(10 * MS + 700, 0);
        wheel.add(10 * MS + 300, 1);
        assert_eq!(due(&mut wheel, 10 * MS), []);
        assert_eq!(wheel.next_deadline(), Some(10 * MS + 300));
        assert_eq!(due(&mut wheel, 10 * MS + 299), []);
        assert_eq!(due(&mut wheel, 10 * MS + 300), [1]);
        assert_eq!(due(&mut wheel, 10 * MS + 700), [0]);
    }

    #[test]
    fn what_is_late_already_comes_before_what_is_due() {
        let mut wheel = Wheel::new();
        wheel.add(50 * MS, 0);
        assert_eq!(due(&mut wheel, 40 * MS), []);
        wheel.add(7 * MS, 1);
        wheel.add(0, 2);
        assert_eq!(due(&mut wheel, 50 * MS), [2, 1, 0]);
    }

    #[test]
    fn a_cancelled_timer_leaves_nothing() {
        let mut wheel = Wheel::new();
        let near = wheel.add(0, 0);
        let slot: Vec<Key> = (1..4).map(|n| wheel.add(5 * MS, n)).collect();
        assert_eq!(wheel.cancel(slot[1]), Some(2));
        assert_eq!(wheel.cancel(slot[1]), None);
        assert_eq!(wheel.cancel(near), Some(0));
        assert_eq!(due(&mut wheel, 5 * MS), [1, 3]);
        assert_eq!(wheel.cancel(slot[0]), None, "it has fired");
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn the_farthest_deadline_has_a_place() {
        let mut wheel = Wheel::new();
        wheel.add(u64::MAX, 0);
        wheel.add(MS, 1);
        assert_eq!(due(&mut wheel, u64::MAX - 1), [1]);
        assert_eq!(due(&mut wheel, u64::MAX), [0]);
    }

    /// What a test does with a wheel.
    #[derive(Debug, Clone)]
    enum Act {
        Add { after: u64 },
        Cancel { which: usize },
        Pass { by: u64, at_most: usize },
    }

    fn act() -> impl Strategy<Value = Act> {
        // Near and far, on and off the edges of ticks and levels.
        let span = prop_oneof![
            0..3 * MS,
            (0..200_u64).prop_map(|ms| ms * MS),
            0..10_000 * MS,
            (0..100_000_u64).prop_map(|s| s * 1000 * MS),
            (0..60_u32).prop_map(|bits| 1 << bits),
        ];
        prop_oneof![
            4 => span.clone().prop_map(|after| Act::Add { after }),
            1 => any::<usize>().prop_map(|which| Act::Cancel { which }),
            2 => (span, 0..8_usize).prop_map(|(by, at_most)| Act::Pass { by, at_most }),
        ]
    }

    proptest! {
        #[test]
        fn does_what_a_sorted_map_does(acts in prop::collection::vec(act(), 1..200)) {
            let mut wheel = Wheel::new();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            let mut now = 0_u64;
            for (n, act) in (0_u32..).zip(acts) {
                match act {
                    Act::Add { after } => {
                        let deadline = now.saturating_add(after);
                        keys.push((deadline, n, wheel.add(deadline, n)));
                        model.insert((deadline, n), n);
                    }
                    Act::Cancel { which } if !keys.is_empty() => {
                        let (deadline, n, key) = keys[which % keys.len()];
                        prop_assert_eq!(wheel.cancel(key), model.remove(&(deadline, n)));
                    }
                    Act::Cancel { .. } => {}
                    // A turn takes a bounded number and leaves the rest for the next.
                    Act::Pass { by, at_most } => {
                        now = now.saturating_add(by);
                        for _ in 0..at_most {
                            let expected = match model.first_key_value() {
                                Some(((deadline, _), _)) if *deadline <= now => model.pop_first(),
                                _ => None,
                            };
                            prop_assert_eq!(wheel.pop_due(now), expected.map(|(_, n)| n));
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                // Never later than the truth; and waking then and there gets on.
                if let Some(((deadline, _), _)) = model.first_key_value() {
                    prop_assert!(wheel.next_deadline().is_some_and(|next| next <= *deadline));
                } else {
                    prop_assert_eq!(wheel.len(), 0);
                }
            }
            let rest: Vec<u32> = std::iter::from_fn(|| wheel.pop_due(u64::MAX)).collect();
            prop_assert_eq!(rest, model.into_values().collect::<Vec<_>>());
        }
    }
}
