//! A reactor inside of a tokio program: Deferreds, timers and sockets beside what else tokio runs.
//!
//! A turn is due when the reactor's descriptor is readable, which it is once something has come from
//! a socket or another thread, and when `next_timeout` has passed. A reactor stays on its thread: this
//! is for `current_thread`, or a `LocalSet`.

use std::{io, time::Duration};

use thence::Reactor;
use tokio::{
    io::{Interest, unix::AsyncFd},
    task, time,
};

/// Turns the reactor when something is due, until `work` has ended.
///
/// Whatever is asked of the reactor meanwhile has to be asked inside of it, in `work` or by a
/// [`Handle`](thence::Handle): nobody looks at its timers for the rest of the thread.
///
/// # Errors
///
/// When the reactor has no descriptor, or cannot turn.
pub async fn drive<T>(reactor: &mut Reactor, work: impl Future<Output = T>) -> io::Result<T> {
    let fd = reactor.as_fd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned()?;
    #[expect(deprecated, reason = "what follows it is unsafe; this owns what it watches")]
    let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
    let mut work = std::pin::pin!(work);
    loop {
        reactor.turn(Some(Duration::ZERO))?;
        let due = reactor.next_timeout();
        tokio::select! {
            biased;
            value = &mut work => return Ok(value),
            () = task::yield_now(), if due == Some(Duration::ZERO) => {}
            // Forgotten before the turn: what comes during that is another edge.
            ready = fd.readable() => ready?.clear_ready(),
            () = time::sleep(due.unwrap_or(LONG)) => {}
        }
    }
}

const LONG: Duration = Duration::from_secs(24 * 60 * 60);
