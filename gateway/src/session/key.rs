//! The cookie key's file, beside the store.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    error::StoreError,
    schema,
    token::{MacKey, hex},
};

/// Where the key of the store at `store` lies.
pub fn path_beside(store: &Path) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(".key");
    PathBuf::from(name)
}

/// Reads the key, if the file is there. Only its owner may read it.
pub(super) fn read(path: &Path) -> Result<Option<MacKey>, StoreError> {
    let bad = |why: String| StoreError::Key { path: path.to_owned(), why };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    let mode = fs::metadata(path).map_err(|error| bad(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(bad(format!("others can read it (mode {:04o})", mode & 0o7777)));
    }
    let bytes = unhex(text.trim()).ok_or_else(|| bad("it is not 64 hexadecimal digits".into()))?;
    Ok(Some(MacKey::new(&bytes)))
}

/// Makes a key and its file (mode 0600), or reads the one another process made first.
pub(super) fn make(path: &Path) -> Result<MacKey, StoreError> {
    let bad = |why: String| StoreError::Key { path: path.to_owned(), why };
    let mut bytes = [0; MacKey::BYTES];
    getrandom::fill(&mut bytes).map_err(|error| bad(error.to_string()))?;
    // Written whole under another name and then linked: two gateways that start at once agree on
    // one key, and a crash leaves no half of one.
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = path.with_extension(format!("key.{}.{number}", std::process::id()));
    let written = write_draft(&draft, &bytes).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    // The name must survive the machine's power as the sessions do.
    match written.and_then(|()| schema::sync_folder(path)) {
        Ok(()) => Ok(MacKey::new(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| bad("it was removed while it was being made".into()))
        }
        Err(error) => Err(bad(error.to_string())),
    }
}

/// Two threads of a process have two.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    // The umask may have taken bits away; it must not leave any more than these.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(hex(bytes).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn unhex(text: &str) -> Option<[u8; MacKey::BYTES]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::token::SessionId;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_beside(&dir.path().join("sessions.db"));
        assert!(read(&path).unwrap().is_none());
        let id = SessionId::random().unwrap();
        let value = make(&path).unwrap().seal(&id);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().unwrap().open(value.as_bytes()), Some(id.clone()));
        assert_eq!(make(&path).unwrap().open(value.as_bytes()), Some(id), "the first one stays");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.db.key");
        make(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("0640"), "{said}");
    }

    #[test]
    fn a_key_file_that_holds_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.db.key");
        make(&path).unwrap();
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(66)] {
            fs::write(&path, text).unwrap();
            read(&path).expect_err(text);
        }
    }
}
