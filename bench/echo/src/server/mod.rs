//! The servers. Each is a process of its own on core 0, says on its first line which port it
//! listens on, takes a number of connections, and ends when the last of them has been closed.

mod libuv;
mod program;
mod raw;
mod with_monoio;
mod with_smol;
mod with_thence;
mod with_tokio;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::time::Duration;
use std::{process, thread};

pub use self::program::Program;
use self::program::Script;
use crate::shape::Shape;

/// Where a server listens: any free port, and nobody from outside.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// After this long a server ends whatever it does: nobody may be there any more to close it. Those
/// that are programs of their own keep to the same.
const LIFETIME: Duration = Duration::from_secs(180);

/// A server by its name on the command line, its name in the table, and what runs it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How the command line calls it.
    pub name: &'static str,
    /// How the table calls it.
    pub what: &'static str,
    /// What it is measured for.
    pub role: Role,
    by: By,
}

/// What a server is measured for.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// To compare with.
    Peer,
    /// It has goals, one of them for instructions a message.
    Ours { instructions: f64 },
    /// Ours, which spins before it waits: it has a goal for the time of one answer, and uses up the
    /// processor for it.
    Spinning,
}

#[derive(Clone, Copy, Debug)]
enum By {
    /// This very program.
    Here(fn(Shape) -> io::Result<()>),
    /// This very program as another server, with this in its environment.
    With(&'static str, (&'static str, &'static str)),
    /// A program that is built here.
    Libuv,
    /// A program that something here interprets.
    Script(Script),
}

/// All servers.
pub const SERVERS: [Server; 12] = [
    peer("raw", "raw epoll", By::Here(raw::serve)),
    peer("tokio", "tokio, current_thread", By::Here(with_tokio::serve_current_thread)),
    peer("tokio-multi", "tokio, multi_thread", By::Here(with_tokio::serve_multi_thread)),
    peer("monoio", "monoio, epoll", By::Here(with_monoio::serve)),
    peer("smol", "smol", By::Here(with_smol::serve)),
    peer("libuv", "libuv", By::Libuv),
    peer("node", "Node", By::Script(Script::NODE)),
    peer("twisted", "Twisted", By::Script(Script::TWISTED)),
    ours("thence-protocol", "thence, Protocol", 400.0, with_thence::serve_protocols),
    ours("thence", "thence, a flow each", 800.0, with_thence::serve_flows),
    ours("thence-chain", "thence, a chain each", 800.0, with_thence::serve_chains),
    Server {
        name: "thence-spin",
        what: "thence, spinning 50 us",
        role: Role::Spinning,
        by: By::With("thence-protocol", ("THENCE_SPIN_US", "50")),
    },
];

/// The place in [`SERVERS`] of the server that all others are compared with.
pub const RAW: usize = 0;

/// The place of the peer that ours have goals against.
pub const TOKIO: usize = 1;

const fn peer(name: &'static str, what: &'static str, by: By) -> Server {
    Server { name, what, role: Role::Peer, by }
}

const fn ours(
    name: &'static str,
    what: &'static str,
    instructions: f64,
    serve: fn(Shape) -> io::Result<()>,
) -> Server {
    Server { name, what, role: Role::Ours { instructions }, by: By::Here(serve) }
}

impl Server {
    /// The program that is this server.
    ///
    /// # Errors
    ///
    /// It is not there and cannot be built.
    pub fn program(&self) -> io::Result<Program> {
        match self.by {
            By::Here(_) => Program::this(self.name),
            By::With(name, variable) => Ok(Program::this(name)?.with(variable)),
            By::Libuv => libuv::build(),
            By::Script(script) => script.find(),
        }
    }

    /// Messages on each connection at which its instructions are counted, if they are. What spins
    /// would count for as long as there is nothing to do, and interpreters take too long under
    /// callgrind to be counted in every shape.
    pub fn sizes(&self, shape: Shape) -> Option<(u64, u64)> {
        let (small, large) = shape.sizes;
        match self.by {
            By::With(..) => None,
            By::Script(script) => (shape.name == Shape::BASE.name)
                .then_some((small * script.warm_up, large * script.warm_up)),
            By::Here(_) | By::Libuv => Some((small, large)),
        }
    }

    /// Serves connections to their end.
    ///
    /// # Errors
    ///
    /// Whatever the server could not do.
    pub fn serve(&self, shape: Shape) -> io::Result<()> {
        let By::Here(serve) = self.by else {
            return Err(self.program()?.command(shape).exec());
        };
        thread::spawn(|| {
            thread::sleep(LIFETIME);
            process::exit(3);
        });
        serve(shape)
    }
}

/// Tells whoever started this process where it listens.
fn announce(address: SocketAddr) -> io::Result<()> {
    println!("{}", address.port());
    io::stdout().flush()
}
