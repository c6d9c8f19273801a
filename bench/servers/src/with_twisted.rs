//! Twisted: `with_twisted.py`.

use std::io;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/with_twisted.py");

/// The command that starts it. The first Python on the path need not be the system's, which has
/// what Debian brings.
pub fn command() -> io::Result<Command> {
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut command = Command::new(python);
        command.args(["-c", "import twisted"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    let python = python
        .ok_or_else(|| io::Error::other("no Python has it; run: sudo scripts/setup --bench"))?;
    let mut command = Command::new(python);
    command.arg(SCRIPT);
    Ok(command)
}
