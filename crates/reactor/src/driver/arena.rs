//! Where a driver keeps what it works on: slots that are used again, and keys that notice.

use std::{fmt, num::NonZeroU64};

/// Names an operation given to a driver, or a timer.
///
/// A slot is used again after its owner is gone; the generation tells the two apart, so that a key
/// kept too long finds nothing instead of somebody else's operation. The layout is the one that
/// io_uring's `user_data` will carry: generation in the upper 32 bits, then 28 bits of index, then
/// 4 bits of tag, which belong to the driver. Never a pointer: a completion that comes twice or too
/// late must be a counted oddity, not a use after free (compio#1025, compio#674).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(NonZeroU64);

impl Key {
    /// Generations count from one, so that no key is zero and an `Option<Key>` is as small as one.
    pub(crate) fn new(index: u32, generation: u32) -> Self {
        let key = u64::from(generation) << 32 | u64::from(index) << TAG_BITS;
        Key(NonZeroU64::new(key).expect("no generation is zero"))
    }

    /// The slot, which is small and dense: fit to index a table beside the driver's own.
    pub fn index(self) -> usize {
        (self.0.get() as u32 >> TAG_BITS) as usize
    }

    /// Which owner of its slot this is, the first being one.
    pub fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index(), self.generation())
    }
}

/// A table whose entries are named by [`Key`]s.
#[derive(Debug)]
pub struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Free { next: Option<u32> },
    Used(T),
}

impl<T> Arena<T> {
    /// An empty table, which allocates nothing.
    pub const fn new() -> Self {
        Arena { slots: Vec::new(), free: None, len: 0 }
    }

    /// Puts `value` into a slot.
    ///
    /// # Panics
    ///
    /// With 2^28 entries in the table, which is more than the key can name.
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Puts into a slot what `f` makes of its key.
    ///
    /// # Panics
    ///
    /// As [`insert`](Arena::insert).
    pub fn insert_with(&mut self, f: impl FnOnce(Key) -> T) -> Key {
        self.len += 1;
        if let Some(index) = self.free {
            let slot = &mut self.slots[index as usize];
            let Content::Free { next } = slot.content else {
                unreachable!("the free list names free slots only");
            };
            self.free = next;
            let key = Key::new(index, slot.generation);
            slot.content = Content::Used(f(key));
            return key;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        assert!(index < 1 << INDEX_BITS, "more than 2^28 operations at once");
        let key = Key::new(index, FIRST_GENERATION);
        self.slots.push(Slot { generation: FIRST_GENERATION, content: Content::Used(f(key)) });
        key
    }

    /// Takes out what `key` names; `None` when it is gone.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation() || matches!(slot.content, Content::Free { .. }) {
            return None;
        }
        slot.generation = slot.generation.checked_add(1).unwrap_or(FIRST_GENERATION);
        let taken = std::mem::replace(&mut slot.content, Content::Free { next: self.free });
        self.free = Some(key.index() as u32);
        self.len -= 1;
        match taken {
            Content::Used(value) => Some(value),
            Content::Free { .. } => None,
        }
    }

    /// What `key` names; `None` when it is gone.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index()) {
            Some(Slot { generation, content: Content::Used(value) })
                if *generation == key.generation() =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// What `key` names, to change; `None` when it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index()) {
            Some(Slot { generation, content: Content::Used(value) })
                if *generation == key.generation() =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The key of whatever is in a slot now.
    pub fn key_at(&self, index: usize) -> Option<Key> {
        match self.slots.get(index)? {
            Slot { generation, content: Content::Used(_) } => {
                Some(Key::new(index as u32, *generation))
            }
            Slot { content: Content::Free { .. }, .. } => None,
        }
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match &slot.content {
            Content::Used(value) => Some(value),
            Content::Free { .. } => None,
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

const TAG_BITS: u32 = 4;
const INDEX_BITS: u32 = 28;
const FIRST_GENERATION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_kept_too_long_finds_nothing() {
        let mut arena = Arena::new();
        let old = arena.insert("first");
        assert_eq!(arena.remove(old), Some("first"));
        let new = arena.insert("second");
        assert_eq!(new.index(), old.index(), "the slot is used again");
        assert_eq!(arena.get(old), None);
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.get(new), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn slots_are_dense() {
        let mut arena = Arena::new();
        let keys: Vec<Key> = (0..100).map(|n| arena.insert(n)).collect();
        for key in &keys[20..40] {
            arena.remove(*key);
        }
        for n in 0..20 {
            assert!((20..40).contains(&arena.insert(n).index()));
        }
        assert_eq!(arena.insert(0).index(), 100);
        assert_eq!(arena.len(), 101);
    }

    #[test]
    fn index_and_generation_survive_the_packing() {
        let key = Key::new((1 << INDEX_BITS) - 1, u32::MAX);
        assert_eq!(key.index(), (1 << INDEX_BITS) - 1);
        assert_eq!(key.generation(), u32::MAX);
    }
}
