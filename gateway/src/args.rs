//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    address::{DEFAULT_LISTEN, DEFAULT_LISTEN_TLS, DEFAULT_METRICS, Listen, Loopback, Upstream},
    exit::Exit,
    forward::rewrite::Rewrite,
    place::Place,
    ports::Taken,
    session::{
        Account, Span,
        command::{Format, Target},
    },
};

/// A gateway that knows who asks: cookie to session to identity header, in one process.
///
/// Without arguments it runs a demo with an upstream of its own.
#[derive(Debug, Parser)]
#[command(name = "thence-gate", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Exit codes: 0 done, 1 could not start or do it, 2 forced by a second \
                        signal, 3 stopped with work unfinished, 64 wrong usage.")]
pub struct Cli {
    /// What to do instead of running the gateway.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run it.
    #[command(flatten)]
    pub serve: Serve,
}

/// How the gateway runs.
#[derive(Args, Debug)]
pub struct Serve {
    /// The application behind the gateway: `:9000`, `127.0.0.1:9000` or `http://host:9000`
    #[arg(long, value_name = "UPSTREAM")]
    pub to: Option<Upstream>,
    /// Where to listen; a bare `:PORT` is loopback [default: 127.0.0.1:8080, with TLS :8443]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// The session store, a path or `sqlite:path` [default: the user's state folder]
    #[arg(long, value_name = "STORE")]
    pub store: Option<Place>,
    /// The path the application sees, such as `/v1/{account}` or `/v1/{account}{path}`
    #[arg(long, value_name = "PATH")]
    pub rewrite: Option<Rewrite>,
    /// Where to show /metrics, /livez and /readyz; loopback only [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<Loopback>,
    /// Speak TLS, with this certificate and those that lead to its CA, in PEM; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "to")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Append the log to this file, which SIGUSR1 opens anew [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

impl Serve {
    /// Where to listen, and what to do when that is taken.
    pub fn listening(&self) -> (SocketAddr, Taken) {
        let asked = self.listen.map(|listen| listen.0);
        let default = if self.tls_cert.is_some() { DEFAULT_LISTEN_TLS } else { DEFAULT_LISTEN };
        (asked.unwrap_or(default), self.taken("--listen", asked.is_some()))
    }

    /// Where to show the metrics, and what to do when that is taken.
    pub fn showing(&self) -> (SocketAddr, Taken) {
        let asked = self.metrics.map(|metrics| metrics.0);
        (asked.unwrap_or(DEFAULT_METRICS), self.taken("--metrics", asked.is_some()))
    }

    fn taken(&self, flag: &'static str, is_explicit: bool) -> Taken {
        let is_demo = self.to.is_none();
        if is_demo && !is_explicit { Taken::TriesNext } else { Taken::Fails(flag) }
    }
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at this machine as a gateway with these flags would meet it, and say what to do
    #[command(after_help = "Ends with 0 when nothing is bad, with 1 otherwise. Changes nothing.")]
    Doctor {
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would print it as help")]
        serve: Box<Serve>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make, list and end sessions
    Session {
        /// Which of these.
        #[command(subcommand)]
        command: SessionCommand,
    },
}

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Make a session and print its cookie
    Create {
        /// Whose session it is
        account: Account,
        /// How long it lives, whatever happens: 30s, 5m, 1h or 7d
        #[arg(long, value_name = "TIME", default_value = "7d")]
        ttl: Span,
        /// How long it lives without a request, or `off`
        #[arg(long, value_name = "TIME", default_value = "1h")]
        idle: Idle,
        /// For a gateway on TLS: the cookie is `__Host-sessionId`, and Secure
        #[arg(long)]
        secure: bool,
        /// How to print it
        #[arg(long, value_enum, default_value = "cookie")]
        format: Format,
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would print it as help")]
        at: StoreFlag,
    },
    /// List sessions, newest first
    List {
        /// Those of this account only
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<Account>,
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would print it as help")]
        at: StoreFlag,
    },
    /// End a session, or all of an account; it holds from the next request on
    #[command(group(clap::ArgGroup::new("which").required(true).args(["id", "account"])))]
    Revoke {
        /// The id that `session list` shows, or the session's cookie
        id: Option<Target>,
        /// All sessions of this account
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<Account>,
        #[command(flatten)]
        #[allow(missing_docs, reason = "clap would print it as help")]
        at: StoreFlag,
    },
}

/// The store a session command works on.
#[derive(Args, Debug)]
pub struct StoreFlag {
    /// The session store, a path or `sqlite:path` [default: the user's state folder]
    #[arg(long, value_name = "STORE")]
    pub store: Option<Place>,
}

/// `--idle`: a length of time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle(pub Option<Span>);

impl std::str::FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { text.parse().map(|idle| Self(Some(idle))) }
    }
}

/// Reads a command line.
///
/// # Errors
/// What to print and how to end, when there is nothing to run: `--help` and `--version`, or a
/// command line that is wrong.
pub fn parse<I: IntoIterator<Item = T>, T: Into<OsString> + Clone>(
    words: I,
) -> Result<Cli, (clap::Error, Exit)> {
    Cli::try_parse_from(words).map_err(|error| {
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        (error, exit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, (String, Exit)> {
        let words = std::iter::once("thence-gate").chain(line.split_whitespace());
        parse(words).map_err(|(error, exit)| (error.to_string(), exit))
    }

    fn refused(line: &str) -> String {
        let (said, exit) = read(line).expect_err(line);
        assert_eq!(exit, Exit::Usage, "{line}");
        said
    }

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_is_the_demo() {
        let cli = read("").unwrap();
        assert!(cli.command.is_none() && cli.serve.to.is_none() && cli.serve.listen.is_none());
    }

    #[test]
    fn one_flag_is_enough_to_serve() {
        let cli = read("--to :9000").unwrap();
        assert_eq!(cli.serve.to.unwrap().to_string(), "127.0.0.1:9000");
        let line = "--to http://app --listen :80 --store sqlite:s.db --rewrite /v1/{account} \
                    --metrics [::1]:1";
        let serve = read(line).unwrap().serve;
        assert_eq!(serve.rewrite.unwrap().to_string(), "/v1/{account}");
        assert_eq!(serve.store.unwrap().0.to_str(), Some("s.db"));
    }

    #[test]
    fn sessions_are_made_listed_and_ended() {
        read("session create 42").unwrap();
        read("session create 42 --ttl 30d --idle off --format json --store s.db").unwrap();
        read("session list --account 42").unwrap();
        read("session revoke --account 42").unwrap();
        read("session revoke 0123456789abcdef01234567").unwrap();
        read("session revoke sessionId=a.b").unwrap();
    }

    #[test]
    fn the_doctor_takes_the_flags_a_gateway_is_run_with() {
        let cli = read("doctor --to :9000 --listen :80 --store s.db --json").unwrap();
        let Some(Command::Doctor { serve, json: true }) = cli.command else { panic!("{cli:?}") };
        assert_eq!(serve.listening().0.port(), 80);
        read("doctor").unwrap();
    }

    #[test]
    fn a_wrong_line_is_usage_and_says_what_was_expected() {
        assert!(refused("--lisen :9000").contains("--listen"), "the flag that was meant");
        assert!(refused("--to nowhere").contains(":9000"));
        assert!(refused("--rewrite v1").contains("/v1/{account}"));
        assert!(refused("--metrics 0.0.0.0:1").contains("loopback"));
        assert!(refused("session create").contains("<ACCOUNT>"));
        assert!(refused("session create .. ").contains("account id"));
        assert!(refused("session create 42 --ttl soon").contains("7d"));
        assert!(refused("session create 42 --format xml").contains("curl"));
        assert!(refused("session revoke").contains("--account"));
        assert!(refused("session revoke 12").contains("24 digits"));
        assert!(refused("session revoke 0123456789abcdef01234567 --account 1").contains("cannot"));
        assert!(refused("--to :9000 --tls-cert a.pem").contains("--tls-key"));
        assert!(refused("--tls-cert a.pem --tls-key a.key").contains("--to"));
        refused("session");
        refused("--to :9000 session list");
        refused("sesion list");
    }

    #[test]
    fn help_and_version_are_no_error() {
        for line in ["--help", "--version", "session create --help"] {
            assert_eq!(read(line).expect_err(line).1, Exit::Done, "{line}");
        }
    }
}
