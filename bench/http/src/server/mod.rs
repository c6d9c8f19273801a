//! The servers: what each answers to anything it is asked is [`HELLO`].

mod raw;
mod with_axum;
mod with_hyper;
mod with_hyper_on_thence;
mod with_may;
mod with_nginx;
mod with_thence;

use std::io;
use std::net::Ipv4Addr;
use std::process::Command;

use measure::callgrind::Profile;
use measure::process::{Process, end_with_input, under};

pub use self::with_nginx::{Folder, version as nginx_version};

/// The body of every answer.
pub const HELLO: &str = "Hello, world!";

/// Where a server listens: any free port, and nobody from outside.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

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
    Here(fn() -> io::Result<()>),
    Nginx,
}

/// All servers.
pub const SERVERS: [Server; 8] = [
    Server { name: "raw", what: "raw epoll", kind: Kind::Here(raw::serve) },
    Server { name: "may", what: "may_minihttp, one worker", kind: Kind::Here(with_may::serve) },
    Server { name: "hyper", what: "hyper on tokio", kind: Kind::Here(with_hyper::serve) },
    Server {
        name: "hyper-deadline",
        what: "hyper on tokio, head deadline",
        kind: Kind::Here(with_hyper::serve_with_deadline),
    },
    Server { name: "axum", what: "axum on tokio", kind: Kind::Here(with_axum::serve) },
    Server { name: "nginx", what: "nginx, one process", kind: Kind::Nginx },
    Server {
        name: "thence-hyper",
        what: "hyper on thence",
        kind: Kind::Here(with_hyper_on_thence::serve),
    },
    Server { name: "thence", what: "thence-http", kind: Kind::Here(with_thence::serve) },
];

/// The place in [`SERVERS`] of the server that all others are compared with.
pub const RAW: usize = 0;

/// The place of the peer.
pub const HYPER: usize = 2;

/// The places of our own.
pub const THENCE: [usize; 2] = [6, 7];

impl Server {
    /// Why it cannot be run here, and what helps.
    pub fn missing(&self) -> Option<String> {
        match self.kind {
            Kind::Nginx if with_nginx::program().is_none() => {
                Some(format!("{}: it is not installed; run: sudo scripts/setup --bench", self.what))
            }
            _ => None,
        }
    }

    /// Starts it, under callgrind if there is a profile; with the folder it needs, if it needs one.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn start(&self, profile: Option<&Profile>) -> io::Result<(Process, Option<Folder>)> {
        match self.kind {
            Kind::Here(_) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["serve", self.name]);
                Ok((Process::start(under(profile, command))?, None))
            }
            Kind::Nginx => {
                let (process, folder) = with_nginx::start(profile)?;
                Ok((process, Some(folder)))
            }
        }
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
            Kind::Nginx => Err(io::Error::other("nginx is a program of its own: run that")),
        }
    }
}
