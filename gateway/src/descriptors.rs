//! File descriptors: how many a gateway needs, and getting them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::Limits;

/// How many descriptors this process may have; `None` is without a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// What holds now.
    pub soft: Option<u64>,
    /// How far a process may raise that by itself.
    pub hard: Option<u64>,
}

impl Descriptors {
    /// This process' own.
    pub fn read() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        Self { soft: current, hard: maximum }
    }

    /// What a gateway has once it runs: it raises the soft bound to what it needs.
    pub fn raised(self, needed: u64) -> Option<u64> {
        let soft = self.soft?;
        Some(soft.max(self.hard.map_or(needed, |hard| hard.min(needed))))
    }
}

/// Raises the soft bound of this process as far as `needed`, if its hard bound lets it.
fn raise(needed: u64) {
    let bounds = Descriptors::read();
    let raised = bounds.raised(needed);
    if raised != bounds.soft {
        let wanted = Rlimit { current: raised, maximum: bounds.hard };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!("the bound on open files could not be raised: {error}");
        }
    }
}

/// The limits as far as this process' descriptors reach, once they are raised as far as they can be:
/// at a table that is full somebody is closed for the next client, at a bound of the operating
/// system nobody is.
pub fn fitted(mut limits: Limits) -> Limits {
    raise(needed(&limits));
    if let Some(soft) = Descriptors::read().soft {
        limits.connections = usize::try_from(clients(soft, &limits)).unwrap_or(usize::MAX).max(1);
        limits.upstream_connections = limits.upstream_connections.min(limits.connections);
    }
    limits
}

/// What a gateway with these limits needs: every client, every connection to the upstream, and its
/// own.
pub fn needed(limits: &Limits) -> u64 {
    (limits.connections + limits.upstream_connections) as u64 + OWN
}

/// How many clients so many descriptors serve, with as many connections to the upstream as the limits
/// allow or, when there are few descriptors, with one for every client.
pub fn clients(descriptors: u64, limits: &Limits) -> u64 {
    let left = descriptors.saturating_sub(OWN);
    let beside_requests = left.saturating_sub(limits.upstream_connections as u64);
    beside_requests.max(left / 2).min(limits.connections as u64)
}

/// The loop, the listeners, the log and three files for each connection to the store.
const OWN: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(soft: u64, hard: u64) -> Descriptors {
        Descriptors { soft: Some(soft), hard: Some(hard) }
    }

    #[test]
    fn the_soft_bound_is_raised_as_far_as_needed_and_never_lowered() {
        assert_eq!(bounds(1024, 524_288).raised(11_088), Some(11_088));
        assert_eq!(bounds(1024, 4096).raised(11_088), Some(4096));
        assert_eq!(bounds(20_000, 20_000).raised(11_088), Some(20_000));
        assert_eq!(Descriptors { soft: Some(1024), hard: None }.raised(11_088), Some(11_088));
        assert_eq!(Descriptors { soft: None, hard: None }.raised(11_088), None);
    }

    #[test]
    fn descriptors_are_counted_in_clients() {
        let limits = Limits::default();
        assert_eq!(clients(needed(&limits), &limits), 10_000);
        assert_eq!(clients(1_000_000, &limits), 10_000);
        assert_eq!(clients(4096, &limits), 3008);
        assert_eq!(clients(1024, &limits), 480, "a client and its request are two");
        assert_eq!(clients(64, &limits), 0);
    }
}
