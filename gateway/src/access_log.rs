//! One line for each request, exactly one, with nothing in it that would open a session.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
    net::IpAddr,
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    panic,
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::{Method, Uri};
use serde_json::json;
use tracing::Level;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use crate::{
    exit::Trouble,
    log_writer::{LogWriter, Options, Sink},
    metrics::Outcome,
};

/// A request's line while it is being served. It is written by [`Record::end`], or when it is
/// dropped: whatever becomes of a request, there is one line.
#[derive(Debug)]
pub struct Record {
    method: Method,
    target: String,
    request_id: String,
    peer: IpAddr,
    /// Whose request it turned out to be.
    pub account: Option<String>,
    /// What the upstream answered, if it did.
    pub upstream_status: Option<u16>,
    /// Why the gateway answered instead.
    pub refused: Option<&'static str>,
    /// How often it was sent again.
    pub retries: u32,
    written: bool,
}

impl Record {
    /// The line of a request that has just arrived.
    pub fn begin(method: &Method, uri: &Uri, request_id: &str, peer: IpAddr) -> Self {
        Self {
            method: method.clone(),
            target: redacted(uri),
            request_id: request_id.to_owned(),
            peer,
            account: None,
            upstream_status: None,
            refused: None,
            retries: 0,
            written: false,
        }
    }

    /// Writes the line. 499 is a client that did not wait.
    pub fn end(mut self, status: u16, outcome: Outcome, took: Duration) {
        self.write(status, outcome.word(), Some(took));
    }

    fn write(&mut self, status: u16, outcome: &str, took: Option<Duration>) {
        self.written = true;
        tracing::event!(
            target: "thence_gate::access",
            Level::INFO,
            method = self.method.as_str(),
            path = self.target,
            status,
            outcome,
            ms = took.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3),
            account = self.account,
            upstream = self.upstream_status,
            refused = self.refused,
            retries = (self.retries > 0).then_some(self.retries),
            request_id = self.request_id,
            peer = %self.peer,
            "request"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.written {
            self.write(500, "broken off", None);
        }
    }
}

/// Sends the log to `file`, or to standard error: for people on a terminal, as JSON otherwise. A
/// thread of its own writes it, so whatever becomes of it holds no request up (see [`LogWriter`]).
///
/// # Errors
/// When the file cannot be opened.
pub fn start(file: Option<&Path>) -> Result<LogWriter, Trouble> {
    let is_for_people = file.is_none() && io::stderr().is_terminal();
    let sink = match file {
        Some(path) => open(path),
        // std's own handle has a lock, which a full pipe would hold for ever.
        None => {
            io::stderr().as_fd().try_clone_to_owned().map(|fd| Box::new(File::from(fd)) as Sink)
        }
    };
    let options = Options {
        capacity: WAITING,
        notice_every: NOTICE_EVERY,
        notice: if is_for_people { lost_for_people } else { lost_as_json },
        open: file.map(|path| {
            let path = path.to_owned();
            Box::new(move || open(&path)) as Box<dyn Fn() -> io::Result<Sink> + Send>
        }),
    };
    let writer = sink.and_then(|sink| LogWriter::start(sink, options)).map_err(|error| {
        let name = file.unwrap_or(Path::new("standard error")).display();
        Trouble::new(
            format_args!("the log cannot be written to {name}: {error}"),
            "a file that this user can append to, in a folder that is there",
            "name another with --log, or leave it out for standard error",
        )
    })?;
    let log = tracing_subscriber::fmt().with_writer(writer.clone()).with_max_level(Level::INFO);
    // Fails if a log was started before, as a test's may be: that one stays.
    let _ = if is_for_people {
        log.with_target(false).compact().try_init()
    } else {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
    // A file as large as a limit lets it be is as a full disk; unless it is caught this kills. What
    // catches it has nothing to do.
    let caught = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    if let Err(error) = caught {
        tracing::warn!("a file that outgrows its limit will end the process: {error}");
    }
    // The one that std sets writes to standard error, which may block or be gone, and looks the
    // names of all frames up.
    panic::set_hook(Box::new(|panic| {
        let what = panic.payload();
        let message = what.downcast_ref::<&str>().copied();
        let message = message.or_else(|| what.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panicked at {place}: {}", message.unwrap_or("no message"));
    }));
    Ok(writer)
}

/// The rules of reading a log: only its owner writes, and a group may read.
fn open(path: &Path) -> io::Result<Sink> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    Ok(Box::new(file))
}

fn lost_as_json(lost: u64) -> String {
    let line = json!({
        "timestamp": timestamp(),
        "level": "WARN",
        "target": "thence_gate::log",
        "message": LOST,
        "lost": lost,
    });
    format!("{line}\n")
}

fn lost_for_people(lost: u64) -> String {
    format!("{}  WARN {LOST} lost={lost}\n", timestamp())
}

/// As the other lines have it.
fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// Path and names of the query; its values may be anybody's secret.
fn redacted(uri: &Uri) -> String {
    let mut shown = uri.path().to_owned();
    for (at, pair) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => shown.extend([name, "=.."]),
            // Without a name it is a value.
            None if !pair.is_empty() => shown.push_str(".."),
            None => {}
        }
    }
    shown
}

const LOST: &str = "log lines were lost";
/// Some ten thousand lines: a disk that stands still for a second costs none.
const WAITING: usize = 4 << 20;
const NOTICE_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(logging: impl FnOnce()) -> Vec<serde_json::Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, logging);
        let bytes = kept.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn record() -> Record {
        let uri = "/a/b?token=s3cret&flag".parse().unwrap();
        Record::begin(&Method::POST, &uri, "r-1", "192.0.2.1".parse().unwrap())
    }

    #[test]
    fn a_request_is_one_line() {
        let lines = lines(|| {
            let mut record = record();
            record.account = Some("42".into());
            record.upstream_status = Some(200);
            record.end(499, Outcome::Finished, Duration::from_micros(1500));
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["status"], 499);
        assert_eq!(line["outcome"], "finished");
        assert_eq!(line["account"], "42");
        assert_eq!(line["upstream"], 200);
        assert_eq!(line["ms"], 1.5);
        assert_eq!(line["path"], "/a/b?token=..&..");
        assert_eq!(line["request_id"], "r-1");
        assert!(line.get("refused").is_none() && line.get("retries").is_none());
    }

    #[test]
    fn a_request_that_breaks_off_is_one_line_too() {
        let lines = lines(|| drop(record()));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["status"], 500);
        assert_eq!(line["outcome"], "broken off");
    }

    #[test]
    fn values_of_a_query_are_not_logged() {
        let shown = |text: &str| redacted(&text.parse().unwrap());
        assert_eq!(shown("/x"), "/x");
        assert_eq!(shown("/x?"), "/x?");
        assert_eq!(shown("/x?a=1&b=2=3&secret&&c="), "/x?a=..&b=..&..&&c=..");
    }
}
