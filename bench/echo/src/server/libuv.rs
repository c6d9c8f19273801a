//! libuv: a C program, built here.

use std::process::Command;
use std::{env, io};

use super::program::{Program, said};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/with_libuv.c");

/// Builds it beside this program, with the C compiler and the libuv of the system.
pub fn build() -> io::Result<Program> {
    let path = env::current_exe()?.with_file_name("echo-with-libuv");
    let built = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-o"])
        .arg(&path)
        .args([SOURCE, "-luv"])
        .output()
        .map_err(|error| io::Error::other(format!("cc: {error}")))?;
    if !built.status.success() {
        let all = String::from_utf8_lossy(&built.stderr);
        let line = all.lines().find(|line| line.contains("error")).unwrap_or(&all);
        return Err(io::Error::other(line.to_owned()));
    }
    let version = said(Command::new(&path).arg("version"))
        .ok_or_else(|| io::Error::other("it was built but does not run"))?;
    Ok(Program::other(path, Vec::new(), format!("libuv {version}")))
}
