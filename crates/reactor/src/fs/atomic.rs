//! A file that is always whole.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use thence_core::Deferred;

/// As [`write`](super::write), but whoever reads, now or after a crash, sees all of the old or all
/// of the new: for certificates, configuration, state.
///
/// The bytes go to a new file in the same directory, onto the disk, and then take the name; when it
/// ends, the new name is on the disk too. A file that was there keeps its permissions, not its
/// owner; a symbolic link stays, and what it leads to is replaced. When it fails, what was there
/// is untouched.
///
/// ```
/// use thence_reactor::fs;
/// # thence_reactor::run(async {
/// # let path = std::env::temp_dir().join(format!("thence-doc-atomic-{}", std::process::id()));
///
/// fs::write_atomically(&path, "workers = 4\n").await?;
/// assert_eq!(fs::read_to_string(&path).await?, "workers = 4\n");
/// # fs::remove_file(&path).await
/// # }).unwrap();
/// ```
#[track_caller]
pub fn write_atomically(path: impl AsRef<Path>, bytes: impl Into<Bytes>) -> Deferred<()> {
    let bytes = bytes.into();
    super::on(path, "write", move |path| replace(path, &bytes))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a link leads to; a name that is not there yet is itself.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (hidden, mut file) = create_beside(directory, name)?;
    let mut fill = || {
        if let Ok(old) = fs::metadata(path) {
            // Before anything is in it: it may be a key.
            file.set_permissions(old.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&hidden, path)
    };
    fill().inspect_err(|_| drop(fs::remove_file(&hidden)))?;
    fs::File::open(directory)?.sync_all()
}

/// A new file that nobody else writes to, and its path.
fn create_beside(directory: &Path, name: &OsStr) -> io::Result<(PathBuf, fs::File)> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}.new", std::process::id()));
        let hidden = directory.join(hidden);
        match fs::File::create_new(&hidden) {
            // A process with this number crashed here: in a container it has it again.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok((hidden, made?)),
        }
    }
}
