//! Timers: a hierarchical wheel of one-millisecond ticks.
//!
//! A slot is a plain list of deadlines and keys, so adding touches one end of one list, and a list
//! goes from a coarse slot to finer ones, at most once a level of eight, without a look at the
//! entries. What a cancelled one leaves in its slot is a key that names nothing; a slot with more
//! of those than of others is cleaned.
//!
//! A tick begins when all before it have fired. Then its slot is sorted, by deadline and then by
//! creation; so nothing fires early, not even by a part of a tick, and what fires is strictly in
//! order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::driver::{Arena, Key};

/// What is to happen, and when. Times are nanoseconds of the reactor's clock.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    entries: Arena<Entry<T>>,
    levels: [Level; LEVELS],
    /// The tick that has begun, soonest first.
    begun: VecDeque<Set>,
    /// What was added to it when it had begun, or was late already; with a number for the order of
    /// creation, in which all of it comes after all of `begun`.
    late: BinaryHeap<Reverse<(u64, u64, Key)>>,
    created_late: u64,
    tick: u64,
}

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    what: T,
}

/// A timer as a slot knows it.
#[derive(Debug, Clone, Copy)]
struct Set {
    deadline: u64,
    key: Key,
}

#[derive(Debug)]
struct Level {
    /// One bit for each slot that is not empty.
    occupied: u64,
    slots: [Slot; SLOTS],
}

#[derive(Debug)]
struct Slot {
    /// In the order of creation.
    sets: Vec<Set>,
    /// How many of them were cancelled.
    cancelled: usize,
    /// None of them is due before this; a cancelled one may have been.
    soonest: u64,
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Self {
        Wheel {
            entries: Arena::new(),
            levels: [const { Level { occupied: 0, slots: [const { Slot::new() }; SLOTS] } };
                LEVELS],
            begun: VecDeque::new(),
            late: BinaryHeap::new(),
            created_late: 0,
            tick: 0,
        }
    }

    #[cfg(test)]
    fn add(&mut self, deadline: u64, what: T) -> Key {
        self.add_with(deadline, |_| what)
    }

    /// Adds a timer of what `what` makes of its key. One whose deadline has passed is due at once,
    /// in its place in the order.
    pub(crate) fn add_with(&mut self, deadline: u64, what: impl FnOnce(Key) -> T) -> Key {
        let key = self.entries.insert_with(|key| Entry { deadline, what: what(key) });
        if !self.put(Set { deadline, key }) {
            self.created_late += 1;
            self.late.push(Reverse((deadline, self.created_late, key)));
        }
        key
    }

    /// Takes a timer out; `None` when it has fired or was taken out before.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let Entry { deadline, what } = self.entries.remove(key)?;
        if let Some((level, slot)) = self.place(deadline) {
            let row = &mut self.levels[level];
            if row.slots[slot].note_cancelled(&self.entries) {
                row.occupied &= !(1 << slot);
            }
        } else if self.entries.is_empty() {
            self.begun.clear();
            self.late.clear();
        }
        Some(what)
    }

    /// What a timer holds; `None` when it is gone.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key).map(|entry| &mut entry.what)
    }

    /// The next timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<T> {
        loop {
            while let Some((set, is_late)) = self.first_begun() {
                if set.deadline > now && self.entries.get(set.key).is_some() {
                    return None;
                }
                match is_late {
                    true => drop(self.late.pop()),
                    false => drop(self.begun.pop_front()),
                }
                if let Some(entry) = self.entries.remove(set.key) {
                    return Some(entry.what);
                }
            }
            if !self.begin(now / TICK) {
                return None;
            }
        }
    }

    /// When the next timer may be due: never later than it is.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        while let Some((set, is_late)) = self.first_begun() {
            if self.entries.get(set.key).is_some() {
                return Some(set.deadline);
            }
            match is_late {
                true => drop(self.late.pop()),
                false => drop(self.begun.pop_front()),
            }
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

    /// The first of the tick that has begun, and whether it is among the late ones.
    fn first_begun(&self) -> Option<(Set, bool)> {
        let late = self.late.peek().map(|Reverse((deadline, _, key))| (*deadline, *key));
        match (self.begun.front(), late) {
            (Some(set), late) if late.is_none_or(|(deadline, _)| set.deadline <= deadline) => {
                Some((*set, false))
            }
            (_, Some((deadline, key))) => Some((Set { deadline, key }, true)),
            (_, None) => None,
        }
    }

    /// Begins the next tick that has a timer, up to `limit`; false when there is none.
    fn begin(&mut self, limit: u64) -> bool {
        debug_assert!(self.begun.is_empty() && self.late.is_empty());
        while let Some((level, slot)) = self.first_occupied() {
            let shift = level as u32 * SLOT_BITS;
            let above = self.tick >> shift >> SLOT_BITS << SLOT_BITS << shift;
            let start = above | (slot as u64) << shift;
            if start > limit {
                break;
            }
            self.tick = self.tick.max(start);
            self.levels[level].occupied &= !(1 << slot);
            let mut taken = std::mem::replace(&mut self.levels[level].slots[slot], Slot::new());
            if taken.cancelled > 0 {
                taken.sets.retain(|set| self.entries.get(set.key).is_some());
            }
            // All of a slot of the finest level, and of a coarser one what is due in its first
            // tick, have begun.
            for set in taken.sets.drain(..) {
                if !self.put(set) {
                    self.begun.push_back(set);
                }
            }
            self.levels[level].slots[slot].keep_memory_of(taken);
            if !self.begun.is_empty() {
                // Stable, which keeps the order of creation.
                self.begun.make_contiguous().sort_by_key(|set| set.deadline);
                return true;
            }
        }
        self.tick = self.tick.max(limit);
        false
    }

    /// Puts a timer into its slot; false when its tick has begun.
    fn put(&mut self, set: Set) -> bool {
        let Some((level, slot)) = self.place(set.deadline) else { return false };
        let level = &mut self.levels[level];
        level.occupied |= 1 << slot;
        let slot = &mut level.slots[slot];
        slot.soonest = slot.soonest.min(set.deadline);
        slot.sets.push(set);
        true
    }

    /// The slot of a deadline; `None` when its tick has begun. It stays the same until that slot's
    /// own turn comes.
    fn place(&self, deadline: u64) -> Option<(usize, usize)> {
        let due = deadline / TICK;
        if due <= self.tick {
            return None;
        }
        // The highest digit, to base 64, in which the two ticks differ.
        let level = (due ^ self.tick).ilog2() / SLOT_BITS;
        let slot = due >> (level * SLOT_BITS) & SLOT_MASK;
        Some((level as usize, slot as usize))
    }

    /// The slot that comes next. All of a finer level comes before anything of a coarser one.
    fn first_occupied(&self) -> Option<(usize, usize)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        Some((level, self.levels[level].occupied.trailing_zeros() as usize))
    }
}

impl Slot {
    const fn new() -> Self {
        Slot { sets: Vec::new(), cancelled: 0, soonest: u64::MAX }
    }

    /// One of its timers is gone. True when it was the last.
    fn note_cancelled<T>(&mut self, entries: &Arena<Entry<T>>) -> bool {
        self.cancelled += 1;
        if self.cancelled < self.sets.len() {
            // Cleaned when half of it is gone: then each costs two looks, at the most.
            if self.cancelled >= FEW && self.cancelled * 2 > self.sets.len() {
                self.sets.retain(|set| entries.get(set.key).is_some());
                self.sets.shrink_to(self.sets.len() * 2);
                self.cancelled = 0;
                self.soonest = self.sets.iter().map(|set| set.deadline).min().unwrap_or(u64::MAX);
            }
            return false;
        }
        let emptied = std::mem::replace(self, Self::new());
        self.keep_memory_of(emptied);
        true
    }

    /// A slot that is used now and then does not allocate each time.
    fn keep_memory_of(&mut self, mut old: Slot) {
        if self.sets.capacity() == 0 && old.sets.capacity() <= FEW {
            old.sets.clear();
            self.sets = old.sets;
        }
    }
}

/// The name of a timer in a word, for a source that has no more than that.
pub(crate) fn to_word(timer: Key) -> u64 {
    u64::from(timer.generation()) << 32 | timer.index() as u64
}

pub(crate) fn of_word(word: u64) -> Key {
    Key::new(word as u32, (word >> 32) as u32)
}

/// Nanoseconds.
const TICK: u64 = 1_000_000;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;

/// 64^8 ticks are more than the 584 years that 64 bits of nanoseconds can say.
const LEVELS: usize = 8;

/// So many keys in a slot are no waste of memory.
const FEW: usize = 64;

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
    fn what_is_cancelled_leaves_no_memory_behind() {
        let mut wheel = Wheel::new();
        wheel.add(70_000 * MS, 0);
        for n in 0..10_000 {
            let keys: Vec<Key> = (0..10).map(|_| wheel.add(70_000 * MS, n)).collect();
            for key in keys {
                wheel.cancel(key);
            }
        }
        let sets = wheel.levels.iter().flat_map(|level| &level.slots).map(|slot| &slot.sets);
        assert!(sets.map(Vec::capacity).sum::<usize>() <= 4 * FEW);
        assert_eq!(due(&mut wheel, 70_000 * MS), [0]);
    }

    #[test]
    fn a_slot_whose_timers_were_all_cancelled_wakes_nobody() {
        let mut wheel = Wheel::new();
        wheel.add(500 * MS, 0);
        let keys: Vec<Key> = (1..200).map(|n| wheel.add(5 * MS, n)).collect();
        for key in keys {
            wheel.cancel(key);
        }
        assert_eq!(wheel.next_deadline(), Some(500 * MS));
    }

    #[test]
    fn what_is_added_to_a_tick_that_has_begun_finds_its_place_in_it() {
        let mut wheel = Wheel::new();
        for (n, deadline) in [(0, 700), (1, 100), (2, 500)] {
            wheel.add(10 * MS + deadline, n);
        }
        assert_eq!(wheel.pop_due(10 * MS + 100), Some(1));
        assert_eq!(wheel.pop_due(10 * MS + 100), None);
        for (n, deadline) in [(3, 500), (4, 300), (5, 300), (6, 900)] {
            wheel.add(10 * MS + deadline, n);
        }
        assert_eq!(due(&mut wheel, 11 * MS), [4, 5, 2, 3, 0, 6]);
    }

    #[test]
    fn the_farthest_deadline_has_a_place() {
        let mut wheel = Wheel::new();
        wheel.add(u64::MAX, 0);
        wheel.add(MS, 1);
        assert_eq!(due(&mut wheel, u64::MAX - 1), [1]);
        assert_eq!(due(&mut wheel, u64::MAX), [0]);
    }

    #[test]
    fn a_timer_is_known_by_a_word() {
        let mut wheel = Wheel::new();
        for n in 0..3 {
            let first = wheel.add(MS, n);
            let second = wheel.add(MS, n);
            assert_eq!([first, second].map(|key| of_word(to_word(key))), [first, second]);
            wheel.cancel(first);
        }
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
