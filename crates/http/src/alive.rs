//! Connections whose other end has vanished.

use std::time::Duration;

use thence_reactor::net::{Keepalive, TcpStream};

/// Has the operating system break a connection whose other end has lost its power or its network.
/// Nothing else would end one on which a quiet stream waits: it may rightly be quiet for hours.
///
/// `patience` is how long the other end may leave unacknowledged, or not take, what it was sent; no
/// less than keepalive takes, which Linux would otherwise cut short (tcp(7), TCP_USER_TIMEOUT).
pub(crate) fn watch(stream: &TcpStream, patience: Duration) {
    let keepalive = Keepalive::default();
    let least = keepalive.idle + keepalive.interval * keepalive.probes;
    let patience = (patience < YEAR).then_some(patience.max(least));
    let watched =
        stream.set_keepalive(Some(keepalive)).and_then(|()| stream.set_user_timeout(patience));
    if let Err(error) = watched {
        // One that is gone already says so at the first read.
        tracing::debug!("a connection cannot be watched: {error}");
    }
}

/// A limit that is longer is as good as none.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
