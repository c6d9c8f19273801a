//! Signals that arrive as bytes on a socket.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
};

use signal_hook::{SigId, flag, low_level};

/// A signal that is written to a socket as long as this lives.
pub(super) struct Signal {
    id: SigId,
    number: i32,
}

impl Signal {
    /// The socket that each arrival of `number` writes a byte to.
    pub(super) fn watch(number: i32) -> io::Result<(OwnedFd, Self)> {
        let (socket, handler) = UnixStream::pair()?;
        // The handler must not wait, whatever it finds.
        handler.set_nonblocking(true)?;
        Watched::begin(number)?;
        match low_level::pipe::register(number, OwnedFd::from(handler)) {
            Ok(id) => Ok((socket.into(), Signal { id, number })),
            Err(error) => {
                Watched::end(number);
                Err(error)
            }
        }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        low_level::unregister(self.id);
        Watched::end(self.number);
    }
}

/// A signal that somebody in this process waits for, or did.
///
/// Once a handler is installed it stays: signal-hook cannot give a signal its default action back,
/// so after the last reactor nothing would end the program on Ctrl-C. Hence one entry for each
/// signal that does the default while nobody watches.
struct Watched {
    signal: i32,
    watchers: usize,
    unwatched: Arc<AtomicBool>,
}

impl Watched {
    fn begin(signal: i32) -> io::Result<()> {
        let mut all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = all.iter_mut().find(|watched| watched.signal == signal) {
            watched.watchers += 1;
            watched.unwatched.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let unwatched = Arc::new(AtomicBool::new(false));
        flag::register_conditional_default(signal, unwatched.clone())?;
        all.push(Watched { signal, watchers: 1, unwatched });
        Ok(())
    }

    fn end(signal: i32) {
        let mut all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = all.iter_mut().find(|watched| watched.signal == signal) {
            watched.watchers -= 1;
            watched.unwatched.store(watched.watchers == 0, Ordering::SeqCst);
        }
    }
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
