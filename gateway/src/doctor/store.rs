//! The session store: whether it opens, and how old and large it is.

use std::path::Path;

use rustix::fs::{Access, access};

use super::{Finding, Verdict};
use crate::{
    args::Serve,
    run,
    session::{Stamp, Survey},
};

/// The store that a gateway with these flags would use.
pub fn store(asked: &Serve) -> Finding {
    let path = match run::store_path(asked.store.clone()) {
        Ok(path) => path,
        Err(trouble) => return Finding::trouble("store", &trouble),
    };
    let now = Stamp::now();
    match Survey::take(&path, now) {
        Ok(Some(survey)) => judge(&path, &survey, now),
        Ok(None) => missing(&path, asked.store.is_none()),
        Err(error) => Finding::trouble("store", &error.into()),
    }
}

fn judge(path: &Path, survey: &Survey, now: Stamp) -> Finding {
    let Survey { rows, live, bytes, log_bytes, .. } = survey;
    let age = match survey.oldest {
        Some(oldest) => format!("the oldest made {} ago", now.since(oldest)),
        None => "none was made yet".to_owned(),
    };
    let checked = if survey.checked { "no damage" } else { "too large to read through here" };
    let found = format!(
        "{}: {rows} sessions, {live} in force, {age}; {} KiB, log {} KiB, {checked}",
        path.display(),
        bytes >> 10,
        log_bytes >> 10
    );
    let expected = "a store that opens and can be written to, its sessions made in the past, its \
                    log below 64 MiB";
    if survey.newest.is_some_and(|newest| newest.millis() > now.millis() + AHEAD) {
        let advice = "the wall clock went back: set it, or sessions live longer than they should";
        return Finding::of(Verdict::Note, "store", found, expected, advice);
    }
    if *log_bytes > LONG_LOG {
        let advice = format!(
            "a reader that never ends keeps the log from being written back: find it with `fuser \
             -v {}`",
            path.display()
        );
        return Finding::of(Verdict::Note, "store", found, expected, advice);
    }
    Finding::ok("store", found, expected)
}

/// A first start makes it, if it may.
fn missing(path: &Path, is_default: bool) -> Finding {
    let found = format!("{} is not there yet", path.display());
    let expected = "a store, or a folder in which one can be made";
    // The folder of the default store is made with it, one that was named is not.
    let mut folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    while let (true, Some(missing)) = (is_default, folder.filter(|folder| !folder.exists())) {
        folder = missing.parent();
    }
    let folder = folder.unwrap_or(Path::new("."));
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok("store", format_args!("{found}; a start makes it"), expected),
        Err(error) => Finding::of(
            Verdict::Bad,
            "store",
            format_args!("{found}, and cannot be made in {}: {error}", folder.display()),
            expected,
            "make the folder, let this user write to it, or name another store with --store",
        ),
    }
}

/// Clocks of two machines may differ by this.
const AHEAD: i64 = 60_000;
const LONG_LOG: u64 = 64 << 20;
