//! Instructions per operation, counted by callgrind.
//!
//! A program is run at two sizes, and the difference of the counts is divided by the difference of
//! the sizes: start, warm-up and end cancel out. Only user space is counted. Valgrind runs the
//! threads of a process one at a time, and all of them are counted.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// Whether valgrind can be run here.
pub fn installed() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A program run under callgrind; its count is read once it has ended.
#[derive(Debug)]
pub struct Profile {
    file: PathBuf,
}

impl Profile {
    /// A profile whose file is named after this process and `name`.
    pub fn new(name: &str) -> Self {
        let file = format!("thence-bench-{}-{name}.callgrind", std::process::id());
        Self { file: env::temp_dir().join(file) }
    }

    /// The command that runs this very program under callgrind with `arguments`.
    ///
    /// # Errors
    ///
    /// The path of this program is not known.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> io::Result<Command> {
        Ok(self.command_of(env::current_exe()?, arguments))
    }

    /// The command that runs another program so, even one that compiles while it runs.
    pub fn command_of<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: &[A],
    ) -> Command {
        let out = format!("--callgrind-out-file={}", self.file.display());
        let mut command = Command::new("valgrind");
        // Code that no file has may be rewritten: it is looked at again before each run of it.
        command.args(["--tool=callgrind", "-q", "--smc-check=all-non-file", &out]);
        command.arg(program).args(arguments);
        command
    }

    /// Instructions counted by the run that has ended.
    ///
    /// # Errors
    ///
    /// The run left no profile, so it did not come to its end.
    pub fn instructions(&self) -> io::Result<u64> {
        let text = fs::read_to_string(&self.file)?;
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        let total = total.ok_or_else(|| io::Error::other("callgrind wrote no total"))?;
        total.trim().parse().map_err(io::Error::other)
    }

    /// The file, for those who want to look closer.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Runs `total` at two sizes and divides difference by difference.
///
/// # Errors
///
/// Whatever `total` could not do.
pub fn per_operation(
    (small, large): (u64, u64),
    mut total: impl FnMut(u64) -> io::Result<u64>,
) -> io::Result<f64> {
    let (low, high) = (total(small)?, total(large)?);
    Ok((high as f64 - low as f64) / (large - small) as f64)
}
