//! Child processes.
//!
//! ```
//! use thence_reactor::process::Command;
//! # thence_reactor::run(async {
//!
//! let output = Command::new("echo").arg("hello").output().await?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"hello\n");
//! # Ok(()) }).unwrap();
//! ```
//!
//! A child is watched by a descriptor of its own (a pidfd, Linux 5.3), not by SIGCHLD, so that
//! nothing here meets what else in the process starts children. It is reaped the moment it ends,
//! whether anybody waits for it or not: there are no zombies.
//!
//! # Who ends a child
//!
//! * It ends by itself, or by [`Child::kill`] and [`Child::signal`].
//! * A request to end that reaches its [`wait`](Child::wait) kills it: `cancel`, `timeout`, a
//!   [`Scope`](thence_core::Scope) that owns the wait, the end of the drain. The wait ends
//!   `Stop(Cancelled)` when the child is gone.
//! * Leaving does not: a dropped [`Child`] runs on. [`Command::kill_on_drop`] is the other choice.
//! * At the reactor's end what still runs is killed, with a line in the log, or left to itself if
//!   [`Command::outlive`] says so.
//!
//! A child inherits no descriptor that was opened here but the three it is given. What it starts
//! itself is its own affair: a signal to a child is not one to its children. On the `manual` driver there are no
//! children: [`Command::spawn`] is [`Unsupported`](std::io::ErrorKind::Unsupported).

mod child;
mod command;

pub use self::{child::Child, command::Command};
pub use std::process::{ExitStatus, Output, Stdio};
