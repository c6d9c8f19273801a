//! Memory that a storm of clients took, given back once it is over.

use std::{cell::Cell, time::Duration};

use thence::{Deferred, Never, core::hosting, every, http::ServerHandle};

/// Looks at how many connections there are, and gives memory back when most of many have gone, and
/// once more when what they had left behind has had time to go too (idle connections upstream).
pub fn give_back_after_storms(server: ServerHandle) {
    let storm = Storm::default();
    every(LOOK_EVERY, move || {
        if storm.is_over(server.connections()) {
            let bytes = hosting::release_memory();
            tracing::debug!(bytes, "a storm of connections is over: its memory is given back");
        }
        Deferred::<(), Never>::ok(())
    });
}

#[derive(Debug, Default)]
struct Storm {
    /// The most connections there were since memory was given back.
    most: Cell<usize>,
    /// Looks until it is given back once more.
    again: Cell<Option<u32>>,
}

impl Storm {
    /// Whether memory should be given back now.
    fn is_over(&self, connections: usize) -> bool {
        let most = self.most.get().max(connections);
        let is_over = most >= MANY && connections <= most / 2;
        self.most.set(if is_over { connections } else { most });
        if is_over {
            self.again.set(Some(AGAIN_AFTER));
            return true;
        }
        let left = self.again.take().map(|looks| looks - 1);
        self.again.set(left.filter(|looks| *looks > 0));
        left == Some(0)
    }
}

/// Fewer are no storm: what they took is worth less than the time to give it back.
const MANY: usize = 256;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const AGAIN_AFTER: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn overs(seen: &[usize]) -> Vec<bool> {
        let storm = Storm::default();
        seen.iter().map(|connections| storm.is_over(*connections)).collect()
    }

    #[test]
    fn a_storm_is_over_once_when_half_of_it_has_gone() {
        assert_eq!(overs(&[10, 2000, 1500]), [false; 3]);
        assert_eq!(overs(&[2000, 900, 800, 500]), [false, true, false, false]);
        assert_eq!(overs(&[2000, 900, 400]), [false, true, true], "what is left was one too");
    }

    #[test]
    fn memory_is_given_back_once_more_after_a_while() {
        let storm = Storm::default();
        assert!(!storm.is_over(2000) && storm.is_over(0));
        let again: Vec<_> = (1..30).filter(|_| storm.is_over(0)).collect();
        assert_eq!(again, [10]);
    }

    #[test]
    fn a_few_connections_more_or_less_are_none() {
        assert_eq!(overs(&[0, 255, 0, 100, 0]), [false; 5]);
    }
}
