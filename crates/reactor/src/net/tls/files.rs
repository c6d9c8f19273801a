//! Files of PEM.

use std::{fs, io, path::Path};

/// All of a file, or an error that names it.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read `{}`: {error}", path.display()))
    })
}
