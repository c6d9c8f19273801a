//! Short connections: opened, 64 bytes there and back, closed, 16 at a time.
//!
//! ```text
//! cargo run --release -p short                  the table
//! cargo run --release -p short -- serve NAME    one server, until its input ends: for a profiler
//! ```

mod figures;
mod load;

use std::process::ExitCode;

use servers::{
    Asked, LIBUV, MONOIO, RAW, SMOL, Server, THENCE, THENCE_CHAIN, THENCE_PROTOCOL, TOKIO,
    command_line,
};

/// The rows of the table.
const SERVERS: [Server; 8] =
    [RAW, LIBUV, MONOIO, TOKIO, SMOL, THENCE_PROTOCOL, THENCE, THENCE_CHAIN];

/// The place in [`SERVERS`] of what all others are compared with.
const REFERENCE: usize = 0;

/// The place of the peer.
const PEER: usize = 3;

/// The places of our own.
const OURS: [usize; 3] = [5, 6, 7];

fn main() -> ExitCode {
    let sessions = match command_line("short", 4, &SERVERS) {
        Asked::Table(sessions) => sessions,
        Asked::Over(code) => return code,
    };
    match figures::table(sessions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("short: {error}");
            ExitCode::FAILURE
        }
    }
}
