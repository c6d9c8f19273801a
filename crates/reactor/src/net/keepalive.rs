//! How a quiet TCP connection finds out that its other end is gone.

use std::time::Duration;

/// How TCP asks a quiet peer whether it is still there; see
/// [`TcpStream::set_keepalive`](super::TcpStream::set_keepalive).
///
/// The operating system counts whole seconds, of which there is at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// How long nothing comes before it asks; 60 s.
    pub idle: Duration,
    /// How long it waits for an answer before it asks again; 10 s.
    pub interval: Duration,
    /// How often it asks before the connection is broken; 3.
    pub probes: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(10), probes: 3 }
    }
}
