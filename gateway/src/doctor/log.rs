//! The log's file: whether a gateway can append to it.

use std::path::Path;

use rustix::fs::{Access, access};

use super::{Finding, Verdict};
use crate::args::Serve;

/// The file, if the log is to go to one.
pub fn log(asked: &Serve) -> Option<Finding> {
    asked.log.as_deref().map(judge)
}

fn judge(path: &Path) -> Finding {
    let expected = "a file that can be appended to, or a folder in which one can be made";
    let is_there = path.exists();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let (asked, access_needed) = match is_there {
        true => (path, Access::WRITE_OK),
        false => (folder.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK),
    };
    match access(asked, access_needed) {
        Ok(()) if path.is_dir() => Finding::of(
            Verdict::Bad,
            "log",
            format_args!("{} is a folder", path.display()),
            expected,
            "name a file with --log",
        ),
        Ok(()) if is_there => Finding::ok("log", path.display(), expected),
        Ok(()) => {
            let found = format!("{} is not there yet; a start makes it", path.display());
            Finding::ok("log", found, expected)
        }
        Err(error) => Finding::of(
            Verdict::Bad,
            "log",
            format_args!("{} cannot be written to: {error}", asked.display()),
            expected,
            "make the folder, let this user write to it, or leave --log out for standard error",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_that_could_not_be_written_is_bad_and_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        let verdict = |path: &Path| judge(path).verdict;
        assert_eq!(verdict(&file), Verdict::Ok);
        assert!(!file.exists());
        fs::write(&file, "").unwrap();
        assert_eq!(verdict(&file), Verdict::Ok);
        assert_eq!(verdict(dir.path()), Verdict::Bad);
        assert_eq!(verdict(&dir.path().join("no/log")), Verdict::Bad);
    }
}
