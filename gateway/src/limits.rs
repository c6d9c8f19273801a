//! Bounds and timeouts, all of them on (rule 31).

use std::time::Duration;

/// What a gateway allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients connected at a time; for one more, one that does nothing is closed, or it waits.
    pub connections: usize,
    /// Requests served at a time; one more is told 503 (rule 65).
    pub in_flight: usize,
    /// Connections to the upstream at a time; requests beyond that wait in line for one, for as long
    /// as `connect` says, and are told 503 then.
    pub upstream_connections: usize,
    /// Times a request may have been through a gateway of our name (rule 48).
    pub loops: usize,
    /// To reach the upstream.
    pub connect: Duration,
    /// From the end of the request until the answer's head.
    pub answer_head: Duration,
    /// For a client to send a request's head.
    pub request_head: Duration,
    /// Between two pieces of a body, while the one who has to send or take the next is waited for
    /// (never for all of it: uploads are long). An upstream's answer may be quiet.
    pub body_idle: Duration,
    /// How long a stop waits for what is under way.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            in_flight: 10_000,
            upstream_connections: 1024,
            loops: 3,
            connect: Duration::from_secs(3),
            answer_head: Duration::from_secs(30),
            request_head: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}
