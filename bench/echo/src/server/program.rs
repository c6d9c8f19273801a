//! What is started as a server, and how those in other languages are found.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, io};

use crate::shape::Shape;

/// A program that is a server when it is started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variable: Option<(&'static str, &'static str)>,
    /// What it is and in which version, unless Cargo.lock says so.
    pub version: Option<String>,
    /// Whether it is one of this very program's servers, which take the shape by its name.
    here: bool,
}

impl Program {
    /// This program as its server of that name.
    pub fn this(name: &str) -> io::Result<Self> {
        Ok(Self {
            path: env::current_exe()?,
            arguments: vec!["serve".into(), name.into()],
            variable: None,
            version: None,
            here: true,
        })
    }

    /// Another program, which takes the number of connections and the size of its buffer.
    pub fn other(path: PathBuf, arguments: Vec<OsString>, version: String) -> Self {
        Self { path, arguments, variable: None, version: Some(version), here: false }
    }

    /// The same with a variable in its environment.
    pub fn with(self, variable: (&'static str, &'static str)) -> Self {
        Self { variable: Some(variable), ..self }
    }

    /// What starts it.
    pub fn command(&self, shape: Shape) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).envs(self.variable);
        match self.here {
            true => command.arg(shape.name),
            false => command.args([shape.connections.to_string(), shape.read().to_string()]),
        };
        command
    }
}

/// A server for an interpreter. Its first argument is the number of connections; given 'version'
/// instead, it says its library's version and the interpreter's path.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    what: &'static str,
    /// What may run it; the first that can is taken.
    interpreters: &'static [&'static str],
    file: &'static str,
    /// How many times as many messages as others it needs before it works as it will: Node compiles
    /// what it has run often.
    pub warm_up: u64,
}

impl Script {
    pub const NODE: Self = Self {
        what: "Node.js",
        interpreters: &["node"],
        file: concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/with_node.js"),
        warm_up: 5,
    };

    /// The first Python on the path need not be the system's, which has what Debian brings.
    pub const TWISTED: Self = Self {
        what: "Twisted",
        interpreters: &["python3", "/usr/bin/python3"],
        file: concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/with_twisted.py"),
        warm_up: 1,
    };

    /// The program it is, if something can run it.
    pub fn find(&self) -> io::Result<Program> {
        for interpreter in self.interpreters {
            // An interpreter without the library says so at length.
            let Some(said) = said(Command::new(interpreter).args([self.file, "version"])) else {
                continue;
            };
            // What is on the path may be a script that starts the interpreter.
            if let Some((version, path)) = said.split_once(' ') {
                let version = format!("{} {version}", self.what);
                return Ok(Program::other(path.into(), vec![self.file.into()], version));
            }
        }
        let tried = self.interpreters.join(" and ");
        Err(io::Error::other(format!("{tried} cannot run it")))
    }
}

/// The line a command says, if it ends well.
pub fn said(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| line.trim().to_owned())
}
