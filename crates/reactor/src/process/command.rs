//! What to start, and how.

use std::{ffi::OsStr, io, path::Path, process::Stdio};

use thence_core::{Deferred, Failure};

use super::{Child, ExitStatus, Output};
use crate::hub::Hub;

/// A program to start, and how: `std`'s builder with Deferreds at its end.
///
/// What has no method here is said on a [`std::process::Command`], which this can be made from.
///
/// ```
/// use std::os::unix::process::CommandExt;
/// use thence_reactor::process::Command;
/// # thence_reactor::run(async {
///
/// let mut plain = std::process::Command::new("true");
/// plain.process_group(0); // Ctrl-C in the terminal is not for it
/// assert!(Command::from(plain).status().await?.success());
/// # Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Command {
    plain: std::process::Command,
    /// Standard input is what somebody said, or may have.
    said_stdin: bool,
    pub(super) kill_on_drop: bool,
    pub(super) outlive: bool,
}

impl Command {
    /// Runs `program`, which is looked for in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Self::from(std::process::Command::new(program));
        command.said_stdin = false;
        command
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.plain.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.plain.args(args);
        self
    }

    /// Sets a variable of its environment, which otherwise is that of this process.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.plain.env(key, value);
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        self.plain.env_remove(key);
        self
    }

    /// Begins with an empty environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.plain.env_clear();
        self
    }

    /// Has it start in this directory.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.plain.current_dir(directory);
        self
    }

    /// What it reads: as this process, unless said. With [`Stdio::piped`] it is
    /// [`Child::stdin`].
    pub fn stdin(&mut self, what: impl Into<Stdio>) -> &mut Self {
        self.plain.stdin(what);
        self.said_stdin = true;
        self
    }

    /// Where it writes: as this process, unless said. With [`Stdio::piped`] it is
    /// [`Child::stdout`].
    pub fn stdout(&mut self, what: impl Into<Stdio>) -> &mut Self {
        self.plain.stdout(what);
        self
    }

    /// Where it complains: as this process, unless said. With [`Stdio::piped`] it is
    /// [`Child::stderr`].
    pub fn stderr(&mut self, what: impl Into<Stdio>) -> &mut Self {
        self.plain.stderr(what);
        self
    }

    /// Whether the child is killed when its [`Child`] has been dropped and nobody waits for it any
    /// more. It runs on unless said.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Whether the child runs on when the reactor ends. It is killed unless said.
    #[doc(alias = "detached")]
    pub fn outlive(&mut self, outlive: bool) -> &mut Self {
        self.outlive = outlive;
        self
    }

    /// Starts it, here and now: a fraction of a millisecond, more where every processor is busy.
    ///
    /// # Errors
    ///
    /// When there is no such program, it may not be run, or no process or descriptor is left; the
    /// error names the program. [`io::ErrorKind::Unsupported`] on a driver without descriptors, and
    /// on a system without pidfds.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let hub = Hub::current("Command::spawn");
        let program = self.plain.get_program().to_string_lossy().into_owned();
        Child::spawn(&hub, self, &program).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start `{program}`: {error}"))
        })
    }

    /// Runs it to its end, and says how it ended. Cancelled, the child is killed.
    ///
    /// # Errors
    ///
    /// The Deferred fails as [`spawn`](Command::spawn). Another exit status than zero is no
    /// failure.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn status(&mut self) -> Deferred<ExitStatus> {
        match self.spawn() {
            Ok(mut child) => child.wait(),
            Err(error) => Deferred::err(Failure::from(error)),
        }
    }

    /// Runs it to its end, and gives how it ended with all that it wrote to standard output and
    /// standard error. It has nothing to read, unless [`stdin`](Command::stdin) says what.
    ///
    /// Cancelled, the child is killed. What it writes is kept whole: for what may be long, spawn
    /// it and read its streams.
    ///
    /// # Errors
    ///
    /// As [`status`](Command::status), and when its output cannot be read.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn output(&mut self) -> Deferred<Output> {
        if !self.said_stdin {
            self.plain.stdin(Stdio::null());
        }
        self.plain.stdout(Stdio::piped()).stderr(Stdio::piped());
        match self.spawn() {
            Ok(child) => child.wait_with_output(),
            Err(error) => Deferred::err(Failure::from(error)),
        }
    }

    pub(super) fn plain(&mut self) -> &mut std::process::Command {
        &mut self.plain
    }
}

impl From<std::process::Command> for Command {
    fn from(plain: std::process::Command) -> Self {
        Command { plain, said_stdin: true, kill_on_drop: false, outlive: false }
    }
}
