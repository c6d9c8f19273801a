//! Echo servers that take connections as long as any come: for the groups `idle` and `short`.
//!
//! Each is a process of its own on core 0, says on its first line which port it listens on, and
//! ends with its input. Those that are Rust are this very program, started again as `serve NAME`.

mod command_line;
mod raw;
mod with_libuv;
mod with_monoio;
mod with_smol;
mod with_thence;
mod with_tokio;
mod with_twisted;

use std::io;
use std::net::Ipv4Addr;
use std::process::Command;

use measure::callgrind::Profile;
use measure::machine;
use measure::process::{Process, end_with_input, under};

pub use self::command_line::{Asked, command_line};

/// Where a server listens: any free port, and nobody from outside.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// What a server reads at most at once.
const READ: usize = 4096;

/// A server by its name on the command line, its name in the table, and what runs it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How the command line calls it.
    pub name: &'static str,
    /// How the table calls it.
    pub what: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Served by this program.
    Here(fn() -> io::Result<()>),
    /// A program of its own. Without it: why it cannot be had, and what helps.
    There(fn() -> io::Result<Command>),
}

/// What all others are compared with.
pub const RAW: Server = here("raw", "raw epoll", raw::serve);
/// tokio, as everybody writes it: a task for each connection, and a buffer in each.
pub const TOKIO: Server = here("tokio", "tokio, a buffer each", with_tokio::serve);
/// tokio, sparing with memory: the buffer is taken when there is something to read.
pub const TOKIO_SHARED: Server =
    here("tokio-shared", "tokio, one buffer for all", with_tokio::serve_shared);
/// monoio on epoll, with one buffer for all.
pub const MONOIO: Server = here("monoio", "monoio on epoll", with_monoio::serve);
/// smol on one thread, with one buffer for all.
pub const SMOL: Server = here("smol", "smol, LocalExecutor", with_smol::serve);
/// libuv, with one buffer for all.
pub const LIBUV: Server =
    Server { name: "libuv", what: "libuv", kind: Kind::There(with_libuv::command) };
/// Twisted on its epoll reactor.
pub const TWISTED: Server =
    Server { name: "twisted", what: "Twisted", kind: Kind::There(with_twisted::command) };
/// thence, a protocol for each connection.
pub const THENCE_PROTOCOL: Server =
    here("thence-protocol", "thence, Protocol", with_thence::serve_protocols);
/// thence, a flow for each connection.
pub const THENCE: Server = here("thence", "thence, a flow each", with_thence::serve_flows);
/// thence, a chain for each connection.
pub const THENCE_CHAIN: Server =
    here("thence-chain", "thence, a chain each", with_thence::serve_chains);

const fn here(name: &'static str, what: &'static str, serve: fn() -> io::Result<()>) -> Server {
    Server { name, what, kind: Kind::Here(serve) }
}

/// Which of these can be run, by place, and why the others cannot.
pub fn available(servers: &[Server]) -> (Vec<usize>, Vec<String>) {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for (place, server) in servers.iter().enumerate() {
        match server.missing() {
            None => there.push(place),
            Some(why) => missing.push(why),
        }
    }
    (there, missing)
}

/// The lines above a table: the machine, and the versions of everything in it.
pub fn describe(servers: &[Server]) -> String {
    let packages = ["tokio", "monoio", "smol"];
    let mut lines = machine::describe(include_str!("../../Cargo.lock"), &packages);
    for version in servers.iter().filter_map(Server::version) {
        lines += ", ";
        lines += &version;
    }
    lines
}

impl Server {
    /// Why it cannot be run here, and what helps.
    pub fn missing(&self) -> Option<String> {
        match self.kind {
            Kind::Here(_) => None,
            Kind::There(command) => Some(format!("{}: {}", self.what, command().err()?)),
        }
    }

    /// Its name and version, if it is in no lock file.
    pub fn version(&self) -> Option<String> {
        let Kind::There(command) = self.kind else { return None };
        let out = command().ok()?.arg("--version").output().ok()?;
        Some(format!("{} {}", self.what, String::from_utf8_lossy(&out.stdout).trim()))
    }

    /// Whether it is this program.
    pub fn is_here(&self) -> bool {
        matches!(self.kind, Kind::Here(_))
    }

    /// Starts it, under callgrind if there is a profile.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn start(&self, profile: Option<&Profile>) -> io::Result<Process> {
        let command = match self.kind {
            Kind::Here(_) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["serve", self.name]);
                command
            }
            Kind::There(command) => command()?,
        };
        Process::start(under(profile, command))
    }

    /// Serves until the input of this process ends.
    ///
    /// # Errors
    ///
    /// Whatever the server could not do.
    pub fn serve(&self) -> io::Result<()> {
        match self.kind {
            Kind::Here(serve) => {
                end_with_input();
                serve()
            }
            Kind::There(_) => Err(io::Error::other("it is a program of its own: run that")),
        }
    }
}
