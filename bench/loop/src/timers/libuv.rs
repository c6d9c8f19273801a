//! libuv, as a C program that is compiled here if its header is.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

/// The program's command, compiled on first use.
pub fn command() -> Option<Command> {
    static PROGRAM: LazyLock<Option<Program>> = LazyLock::new(Program::compile);
    PROGRAM.as_ref().map(|program| Command::new(&program.0))
}

/// A file next to this program, which goes with its directory.
struct Program(PathBuf);

impl Program {
    fn compile() -> Option<Self> {
        let path = env::current_exe().ok()?.with_extension("libuv");
        let mut compiler = Command::new("cc")
            .args(["-O2", "-x", "c", "-", "-o"])
            .arg(&path)
            .arg("-luv")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let source = include_str!("libuv.c");
        // A compiler that does not read to its end says so by how it ends.
        let _ = compiler.stdin.take()?.write_all(source.as_bytes());
        let compiled = compiler.wait().ok()?.success() && fs::exists(&path).ok()?;
        compiled.then_some(Self(path))
    }
}
