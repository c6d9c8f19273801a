//! Sessions that were used and whose row does not say so yet (S4).

use std::collections::HashMap;

use super::{RowKey, Stamp};

/// Collects uses until one writer takes them all, so that a look-up never waits for a write.
#[derive(Debug, Default)]
pub struct Touches {
    seen: HashMap<RowKey, Stamp>,
}

impl Touches {
    /// Most sessions remembered between two writes. Above it a use is forgotten: the session's
    /// next one is as good.
    pub const MOST: usize = 10_000;

    /// Remembers that `key` was used at `now`.
    pub fn note(&mut self, key: RowKey, now: Stamp) {
        if self.seen.len() < Self::MOST || self.seen.contains_key(&key) {
            let seen = self.seen.entry(key).or_insert(now);
            *seen = now.max(*seen);
        }
    }

    /// Everything remembered, for [`Store::touch`](super::Store::touch).
    pub fn take(&mut self) -> Vec<(RowKey, Stamp)> {
        self.seen.drain().collect()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> RowKey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        RowKey::from_bytes(&bytes).expect("32 bytes")
    }

    #[test]
    fn many_uses_of_a_session_are_one_write_of_the_latest() {
        let mut touches = Touches::default();
        for millis in [5, 9, 7] {
            touches.note(key(1), Stamp::from_millis(millis));
        }
        assert_eq!(touches.take(), [(key(1), Stamp::from_millis(9))]);
        assert!(touches.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut touches = Touches::default();
        for n in 0..=20_000 {
            touches.note(key(n), Stamp::from_millis(1));
        }
        touches.note(key(0), Stamp::from_millis(2));
        let taken = touches.take();
        assert_eq!(taken.len(), Touches::MOST);
        assert!(taken.contains(&(key(0), Stamp::from_millis(2))));
    }
}
