//! Files, on the reactor's pool: the functions of `std::fs` as Deferreds, and [`File`].
//!
//! ```
//! use thence_reactor::fs;
//! # thence_reactor::run(async {
//! # let dir = std::env::temp_dir().join(format!("thence-doc-{}", std::process::id()));
//!
//! fs::create_dir_all(&dir).await?;
//! fs::write(dir.join("greeting"), "hello\n").await?;
//! assert_eq!(fs::read(dir.join("greeting")).await?, "hello\n");
//! fs::remove_dir_all(&dir).await?;
//! # Ok(()) }).unwrap();
//! ```
//!
//! A file is always ready as far as epoll is concerned, and then the disk makes its reader wait. So
//! each of these runs as a job of [`offload_when_free`], never on the loop; where all threads are
//! busy it waits for its turn and does not fail. Jobs of several functions run side by side, in no
//! order: what has to be first is awaited first.
//!
//! Cancelled before it has started, a job leaves the queue and nothing was done. One that has
//! started goes on to its end, whoever stops waiting, and a request that came too late gets its
//! result.
//!
//! An error is the [`std::io::Error`], in a [`Failure`] that says what was done to which path.
//! Everything here panics on a thread that has no reactor.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use thence_core::{Deferred, Failure};

use crate::offload::offload_when_free;

mod atomic;
mod file;
mod front;

pub use self::{atomic::write_atomically, file::File};

/// All that is in a file.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Deferred<Bytes> {
    on(path, "read", |path| std::fs::read(path).map(Bytes::from))
}

/// All that is in a file, which must be UTF-8.
#[track_caller]
pub fn read_to_string(path: impl AsRef<Path>) -> Deferred<String> {
    on(path, "read", |path| std::fs::read_to_string(path))
}

/// Makes `bytes` all that is in a file, which is made if it is not there.
///
/// Whoever reads meanwhile may see half of it, and so may everybody after a crash:
/// [`write_atomically`] is for what must be whole.
#[track_caller]
pub fn write(path: impl AsRef<Path>, bytes: impl Into<Bytes>) -> Deferred<()> {
    let bytes = bytes.into();
    on(path, "write", move |path| std::fs::write(path, bytes))
}

/// What is known of the file at `path`, or of what the symbolic link there leads to.
#[track_caller]
pub fn metadata(path: impl AsRef<Path>) -> Deferred<std::fs::Metadata> {
    on(path, "look at", |path| std::fs::metadata(path))
}

/// As [`metadata`], of a symbolic link itself.
#[track_caller]
pub fn symlink_metadata(path: impl AsRef<Path>) -> Deferred<std::fs::Metadata> {
    on(path, "look at", |path| std::fs::symlink_metadata(path))
}

/// Whether there is something at `path`. Fails when that cannot be known.
#[track_caller]
pub fn try_exists(path: impl AsRef<Path>) -> Deferred<bool> {
    on(path, "look for", |path| std::fs::exists(path))
}

/// The absolute path, without symbolic links.
#[track_caller]
pub fn canonicalize(path: impl AsRef<Path>) -> Deferred<PathBuf> {
    on(path, "resolve", |path| std::fs::canonicalize(path))
}

/// Says who may do what with a file.
#[track_caller]
pub fn set_permissions(path: impl AsRef<Path>, permissions: std::fs::Permissions) -> Deferred<()> {
    on(path, "set the permissions of", move |path| std::fs::set_permissions(path, permissions))
}

/// Makes a directory whose parent is there.
#[track_caller]
pub fn create_dir(path: impl AsRef<Path>) -> Deferred<()> {
    on(path, "make the directory", |path| std::fs::create_dir(path))
}

/// Makes a directory and those above it, as far as they are not there.
#[track_caller]
pub fn create_dir_all(path: impl AsRef<Path>) -> Deferred<()> {
    on(path, "make the directory", |path| std::fs::create_dir_all(path))
}

/// What is in a directory, all of it at once, in no order.
#[track_caller]
pub fn read_dir(path: impl AsRef<Path>) -> Deferred<Vec<std::fs::DirEntry>> {
    on(path, "list", |path| std::fs::read_dir(path)?.collect())
}

/// Removes a file, or a symbolic link.
#[track_caller]
pub fn remove_file(path: impl AsRef<Path>) -> Deferred<()> {
    on(path, "remove", |path| std::fs::remove_file(path))
}

/// Removes a directory with nothing in it.
#[track_caller]
pub fn remove_dir(path: impl AsRef<Path>) -> Deferred<()> {
    on(path, "remove the directory", |path| std::fs::remove_dir(path))
}

/// Removes a directory and all that is in it. Symbolic links in it are removed, not followed.
#[track_caller]
pub fn remove_dir_all(path: impl AsRef<Path>) -> Deferred<()> {
    on(path, "remove the directory", |path| std::fs::remove_dir_all(path))
}

/// Gives a file another name on the same file system, in place of what has that name.
#[track_caller]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Deferred<()> {
    onto(from, "rename", to, |from, to| std::fs::rename(from, to))
}

/// Copies what is in a file, and its permissions; says how many bytes that were.
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Deferred<u64> {
    onto(from, "copy", to, |from, to| std::fs::copy(from, to))
}

/// Gives a file a second name.
#[track_caller]
pub fn hard_link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Deferred<()> {
    onto(from, "link", to, |from, to| std::fs::hard_link(from, to))
}

/// Runs `f` with the path; its error says that one cannot do `what`.
#[track_caller]
fn on<T: Send + 'static>(
    path: impl AsRef<Path>,
    what: &'static str,
    f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Deferred<T> {
    let path = path.as_ref().to_path_buf();
    offload_when_free(move || f(&path).map_err(|error| cannot(what, &path, error)))
}

#[track_caller]
fn onto<T: Send + 'static>(
    from: impl AsRef<Path>,
    what: &'static str,
    to: impl AsRef<Path>,
    f: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
) -> Deferred<T> {
    let (from, to) = (from.as_ref().to_path_buf(), to.as_ref().to_path_buf());
    offload_when_free(move || {
        f(&from, &to).map_err(|error| {
            let (from, to) = (from.display(), to.display());
            Failure::from(error).context(format!("cannot {what} {from} to {to}"))
        })
    })
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Failure {
    Failure::from(error).context(format!("cannot {what} {}", path.display()))
}
