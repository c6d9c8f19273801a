//! The file of a Unix socket.

use std::{fs, os::unix::fs::FileTypeExt, path::PathBuf};

use super::UnixAddr;
use crate::driver::Socket;

/// Removes the file when it is dropped.
pub(super) struct SocketFile(PathBuf);

impl SocketFile {
    /// The file that `socket` made at `addr`, if it did.
    pub(super) fn of(socket: &Socket, addr: &UnixAddr) -> Option<Self> {
        socket.as_fd().and_then(|_| addr.as_path()).map(|path| SocketFile(path.to_owned()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What is there now may be somebody else's, and no socket at all.
        if fs::symlink_metadata(&self.0).is_ok_and(|meta| meta.file_type().is_socket()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
