//! libuv: `with_libuv.c`, which the build script compiles.

use std::io;
use std::process::Command;

/// The command that starts it.
pub fn command() -> io::Result<Command> {
    let program = option_env!("BENCH_LIBUV").ok_or_else(|| {
        io::Error::other("no C compiler, or no libuv1-dev; run: sudo scripts/setup --bench")
    })?;
    Ok(Command::new(program))
}
