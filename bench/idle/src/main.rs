//! Memory of an idle TCP connection: 9,000 connections, each with a read that waits.
//!
//! ```text
//! cargo run --release -p idle                   the table
//! cargo run --release -p idle -- serve NAME     one server, until its input ends
//! ```

mod figures;
mod load;

use std::process::ExitCode;

use servers::{
    Asked, LIBUV, MONOIO, RAW, SMOL, Server, THENCE, THENCE_CHAIN, THENCE_PROTOCOL, TOKIO,
    TOKIO_SHARED, TWISTED, command_line,
};

/// The rows of the table.
const SERVERS: [Server; 10] =
    [RAW, LIBUV, MONOIO, TOKIO_SHARED, TOKIO, SMOL, TWISTED, THENCE_PROTOCOL, THENCE, THENCE_CHAIN];

/// The places in [`SERVERS`] of our own.
const OURS: [usize; 3] = [7, 8, 9];

fn main() -> ExitCode {
    let sessions = match command_line("idle", 2, &SERVERS) {
        Asked::Table(sessions) => sessions,
        Asked::Over(code) => return code,
    };
    match figures::table(sessions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::FAILURE
        }
    }
}
