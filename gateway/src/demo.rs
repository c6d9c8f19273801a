//! What the demo prints: lines that work as they stand.

use std::{env, fmt, net::SocketAddr, path::Path};

use crate::{
    place::Surroundings,
    session::{Cookie, Life, Span},
};

/// The account the demo makes a session for.
pub const ACCOUNT: &str = "42";
/// How long that session lives.
pub const LIFE: Life = Life { absolute: Span::seconds(86_400), idle: Some(Span::seconds(3600)) };

/// Everything the greeting names.
#[derive(Debug)]
pub struct Greeting<'a> {
    /// Where the demo listens.
    pub listening: SocketAddr,
    /// Where it would have listened, had it been free.
    pub taken: Option<SocketAddr>,
    /// The cookie's value of the session it made.
    pub cookie: &'a str,
    /// Where sessions are kept.
    pub store: &'a Path,
    /// Whether the store was just made.
    pub created: bool,
    /// How the running program is called from the current folder.
    pub program: &'a str,
    /// What says where a store lies when none is named.
    pub surroundings: &'a Surroundings,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listening, cookie, program, surroundings, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        let store = surroundings.shown(self.store);
        let made = if self.created { "created" } else { "found" };
        // A store that a shell would not find by itself is named.
        let at = match surroundings.is_plain(self.store) {
            true => String::new(),
            false => format!(" --store {}", quoted(&self.store.display().to_string())),
        };
        let taken = match self.taken {
            Some(taken) => format!(", {} is taken", taken.port()),
            None => String::new(),
        };
        let url = format!("http://{listening}");
        let with = format!("-b {}={cookie} {url}", Cookie::Plain.name());
        let tries = [
            (format!("curl -i {url}/hello"), "401, no session"),
            (
                format!("curl -i {with}/hello"),
                "200, X-Account-Id: 42, from a row read on a thread; upstream path /v1/42",
            ),
            (
                format!("curl -m 0.1 -X POST {with}/slow"),
                "you leave; the log shows the work finishing: 499, finished",
            ),
            (
                format!("curl {with}/block"),
                "the log names the file and line that blocked the loop, and for how long",
            ),
            (
                format!("curl {with}/broken"),
                "502, and the log has the failure's trail, step by step",
            ),
            (format!("{program} session revoke --account {ACCOUNT}{at}"), "then line 2 is 401"),
        ];
        let widest = tries.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
        writeln!(f, "thence-gate {version}: no configuration, no --to: demo")?;
        writeln!(f, "  listening   {url}          (loopback only{taken})")?;
        writeln!(f, "  upstream    built in, shows what your app would receive")?;
        writeln!(f, "  sessions    {store}   ({made}, key beside it, mode 0600)")?;
        writeln!(f, "try:")?;
        for (number, (line, why)) in (1..).zip(tries) {
            writeln!(f, "  {number}  {line:widest$}  {why}")?;
        }
        writeln!(f, "then:  {program} --to :9000")
    }
}

/// How the running program is called from the current folder, ready for a shell.
pub fn program() -> String {
    let Ok(path) = env::current_exe() else { return "thence-gate".into() };
    let short = env::current_dir().ok().and_then(|here| {
        let rest = path.strip_prefix(here).ok()?;
        // A shell looks a name without a slash up in the PATH.
        Some(if rest.components().count() == 1 { Path::new(".").join(rest) } else { rest.into() })
    });
    quoted(&short.unwrap_or(path).display().to_string())
}

fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(store: &str, taken: Option<SocketAddr>) -> String {
        let surroundings = Surroundings { home: Some("/h".into()), ..Surroundings::default() };
        Greeting {
            listening: "127.0.0.1:8081".parse().unwrap(),
            taken,
            cookie: "id.mac",
            store: Path::new(store),
            created: true,
            program: "target/release/thence-gate",
            surroundings: &surroundings,
        }
        .to_string()
    }

    #[test]
    fn the_greeting_is_six_lines_that_work_as_printed() {
        let text = greeting("/h/.local/state/thence-gate/sessions.db", None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 12);
        assert_eq!(lines[0], "thence-gate 0.1.0: no configuration, no --to: demo");
        assert_eq!(lines[1], "  listening   http://127.0.0.1:8081          (loopback only)");
        assert_eq!(
            lines[3],
            "  sessions    ~/.local/state/thence-gate/sessions.db   (created, key beside it, mode 0600)"
        );
        let command = |n: usize| lines[4 + n].get(5..).unwrap().split("  ").next().unwrap();
        assert_eq!(command(1), "curl -i http://127.0.0.1:8081/hello");
        assert_eq!(command(2), "curl -i -b sessionId=id.mac http://127.0.0.1:8081/hello");
        assert_eq!(
            command(3),
            "curl -m 0.1 -X POST -b sessionId=id.mac http://127.0.0.1:8081/slow"
        );
        assert_eq!(command(6), "target/release/thence-gate session revoke --account 42");
    }

    #[test]
    fn a_store_of_ones_own_is_named_where_it_is_needed() {
        let text = greeting("/tmp/my store.db", None);
        assert!(text.contains("revoke --account 42 --store '/tmp/my store.db'  then"), "{text}");
    }

    #[test]
    fn a_port_that_was_taken_is_said() {
        let text = greeting("/x", Some("127.0.0.1:8080".parse().unwrap()));
        assert!(text.contains("8081          (loopback only, 8080 is taken)"), "{text}");
    }

    #[test]
    fn words_are_quoted_for_a_shell_when_they_need_it() {
        assert_eq!(quoted("target/release/thence-gate"), "target/release/thence-gate");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }

    #[test]
    fn the_program_can_be_called_as_it_is_named() {
        assert!(program().contains('/'));
    }
}
