//! Compiles what is C, if libuv is there.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/with_libuv.c");
    // As long as this file is missing, cargo runs this again.
    println!("cargo::rerun-if-changed=/usr/include/uv.h");
    let Ok(folder) = std::env::var("OUT_DIR") else { return };
    let program = Path::new(&folder).join("with_libuv");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-o"]).arg(&program);
    compiler.args(["src/with_libuv.c", "-luv", "-lpthread"]);
    if compiler.output().is_ok_and(|out| out.status.success()) {
        println!("cargo::rustc-env=BENCH_LIBUV={}", program.display());
    }
}
