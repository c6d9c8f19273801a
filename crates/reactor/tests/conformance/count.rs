//! What must not be left over.

use std::{
    fs,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// The descriptors of this process, and the buffers that tests gave away.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    descriptors: usize,
    buffers: usize,
}

impl Count {
    pub fn now() -> Self {
        let listed = fs::read_dir("/proc/self/fd").expect("Linux has /proc");
        Count { descriptors: listed.count(), buffers: BUFFERS.load(Ordering::Relaxed) }
    }
}

/// Descriptors and signals are the process's: a test that counts them has it to itself.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes to be sent, counted until the last of those who hold them has let go.
pub fn counted(bytes: impl Into<Vec<u8>>) -> Bytes {
    BUFFERS.fetch_add(1, Ordering::Relaxed);
    Bytes::from_owner(Counted(bytes.into()))
}

struct Counted(Vec<u8>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        BUFFERS.fetch_sub(1, Ordering::Relaxed);
    }
}

static BUFFERS: AtomicUsize = AtomicUsize::new(0);
