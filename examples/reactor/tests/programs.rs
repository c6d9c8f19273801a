//! The programs, as somebody at a terminal would use them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as PlainStream};
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use thence::net::framing::{Framed, Lines};
use thence::net::tls::{Roots, TlsClient};
use thence::net::{TcpStream, Transport};
use thence::prelude::*;
use thence::process::{Child, Command, Stdio};
use thence::{Signal, test};

/// A program that runs, and the lines it prints. Killed when the test is over.
struct Program {
    child: Child,
    lines: Framed<Lines>,
}

impl Program {
    fn start(program: &str, args: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("it is a pipe");
        Ok(Program { child, lines: Framed::new(stdout, Lines::new()) })
    }

    /// A server, and where it listens.
    async fn serve(program: &str, args: &[&str]) -> Result<(Self, SocketAddr), Failure> {
        let program = Self::start(program, args)?;
        let line = program.line().await?;
        let addr = line.strip_prefix("listening at ").expect("it says where it listens");
        Ok((program, addr.parse()?))
    }

    async fn line(&self) -> Result<String, Failure> {
        let line = self.lines.next().timeout(PATIENCE).await?;
        line.ok_or_else(|| Failure::msg("it prints no more"))
    }

    /// Presses Ctrl-C.
    async fn end(mut self) -> Result<(), Failure> {
        self.child.signal(Signal::Interrupt)?;
        let status = self.child.wait().timeout(PATIENCE).await?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn echo_sends_back(style: &'static str) {
    test(async move {
        let program = env!("CARGO_BIN_EXE_echo");
        let (server, addr) = Program::serve(program, &[style, "127.0.0.1:0"]).await?;
        let streams = [TcpStream::connect(addr).await?, TcpStream::connect(addr).await?];
        for stream in &streams {
            let all: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
            let sending = stream.write(all.clone());
            assert!(stream.read_exact(1 << 20).await? == all);
            sending.await?;
        }
        streams[0].shutdown().await?;
        assert_eq!(streams[0].read(1).await?, "");
        // The other one is idle, and does not hold the server open.
        server.end().await
    });
}

#[test]
fn echo_sends_back_by_a_protocol() {
    echo_sends_back("protocol");
}

#[test]
fn echo_sends_back_by_reads() {
    echo_sends_back("reads");
}

#[test]
fn chat_passes_lines_on_and_waits_for_nobody() {
    test(async {
        let (server, addr) = Program::serve(env!("CARGO_BIN_EXE_chat"), &["127.0.0.1:0"]).await?;
        let guest = |stream: TcpStream| Framed::new(stream, Lines::new().max_len(8192));
        let quick = guest(TcpStream::connect(addr).await?);
        assert_eq!(quick.next().await?.as_deref(), Some("you are 1"));
        let speaker = guest(TcpStream::connect(addr).await?);
        assert_eq!(speaker.next().await?.as_deref(), Some("you are 2"));
        // One that reads nothing: more than any buffer between us holds goes by.
        let mut slow = PlainStream::connect(addr)?;
        let mut hello = [0; 10];
        slow.read_exact(&mut hello)?;
        assert_eq!(&hello, b"you are 3\n");
        let line = "x".repeat(4000);
        for round in 0..6000 {
            speaker.send(format!("{round} {line}")).await?;
            let heard = quick.next().timeout(PATIENCE).await?;
            assert_eq!(heard, Some(format!("2: {round} {line}")));
        }
        let missed = offload(move || {
            slow.set_read_timeout(Some(PATIENCE))?;
            let (mut text, mut buffer) = (Vec::new(), [0; 65536]);
            while !text.windows(7).rev().take(70_000).any(|part| part == b"missed ") {
                let n = slow.read(&mut buffer)?;
                text.extend_from_slice(&buffer[..n]);
            }
            slow.write_all(b"sorry\n")?;
            Ok(text.len())
        });
        let read = missed.await?;
        assert!(read < 24_000_000, "the slow one has read {read} bytes and missed none");
        assert_eq!(quick.next().await?.as_deref(), Some("3: sorry"));

        speaker.send("y".repeat(5000)).await?;
        let refused = speaker.next().await?; // its own 3: sorry
        assert_eq!(refused.as_deref(), Some("3: sorry"));
        assert!(speaker.next().await?.is_some_and(|line| line.contains("4096")));
        server.end().await
    });
}

/// A certificate for `localhost` in two files, and the CA that a client has to trust for it.
fn certificate(dir: &PathBuf) -> Roots {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("chain.pem"), leaf.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    Roots::from_pem(ca).unwrap()
}

async fn speaks_tls(addr: SocketAddr, roots: &Roots) -> Result<(), Failure> {
    let client = TlsClient::new(roots);
    let stream = TcpStream::connect(addr).await?;
    let stream = client.connect(stream, "localhost").timeout(PATIENCE).await?;
    stream.write("hello").await?;
    assert_eq!(stream.read_exact(5).await?, "hello");
    stream.shutdown().await?;
    assert_eq!(stream.read(1).await?, "");
    Ok(())
}

#[test]
fn tls_echo_sends_back_and_takes_a_new_certificate() {
    let dir = std::env::temp_dir().join(format!("thence-tls-echo-{}", std::process::id()));
    let files = dir.clone();
    test(async move {
        let old = certificate(&files);
        let paths = ["chain.pem", "key.pem"].map(|name| files.join(name).display().to_string());
        let args = [&paths[0], &paths[1], "127.0.0.1:0"];
        let (server, addr) = Program::serve(env!("CARGO_BIN_EXE_tls_echo"), &args).await?;
        speaks_tls(addr, &old).await?;

        let new = certificate(&files);
        server.child.signal(Signal::Hangup)?;
        assert_eq!(server.line().await?, "new certificate");
        speaks_tls(addr, &new).await?;
        assert!(speaks_tls(addr, &old).await.is_err(), "the old one is shown no more");

        fs::write(files.join("key.pem"), "no key")?;
        server.child.signal(Signal::Hangup)?;
        assert!(server.line().await?.starts_with("the old certificate stays: "));
        speaks_tls(addr, &new).await?;
        server.end().await
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn resolve_prints_every_name_in_order() {
    test(async {
        let names = ["::1", "localhost", "127.0.0.1"];
        let output = Command::new(env!("CARGO_BIN_EXE_resolve")).args(names).output();
        let output = output.timeout(PATIENCE).await?;
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout)?;
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!([lines[0], lines[2]], ["::1 ::1", "127.0.0.1 127.0.0.1"]);
        assert!(lines[1].starts_with("localhost ") && lines[1].contains("1"), "{printed}");

        let wrong = Command::new(env!("CARGO_BIN_EXE_resolve")).arg("no name at all").output();
        let wrong = wrong.timeout(PATIENCE).await?;
        assert_eq!(wrong.status.code(), Some(1));
        assert!(String::from_utf8(wrong.stderr)?.contains("cannot look up no name at all"));
        Ok(())
    });
}

async fn subprocess(args: &[&str]) -> Result<[String; 2], Failure> {
    let output = Command::new(env!("CARGO_BIN_EXE_subprocess")).args(args).output();
    let output = output.timeout(PATIENCE).await?;
    assert!(output.status.success(), "{output:?}");
    Ok([String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?])
}

#[test]
fn subprocess_feeds_a_command_and_shows_both_outputs() {
    test(async {
        let script = "cat; echo complaint >&2; exit 3";
        let [out, err] = subprocess(&["20", "text\n", "sh", "-c", script]).await?;
        assert_eq!(out, "text\nsh: exit status: 3\n");
        assert_eq!(err, "complaint\n");
        let [out, _] = subprocess(&["20", "nobody reads this", "true"]).await?;
        assert_eq!(out, "true: exit status: 0\n");
        Ok(())
    });
}

#[test]
fn subprocess_kills_a_command_that_takes_too_long() {
    test(async {
        let [out, _] = subprocess(&["0.05", "", "sleep", "1000"]).await?;
        assert_eq!(out, "sleep: killed, not done within 50ms\n");
        Ok(())
    });
}

#[test]
fn subprocess_kills_its_command_on_ctrl_c() {
    test(async {
        let script = "echo $$ >&2; exec sleep 1000";
        let mut command = Command::new(env!("CARGO_BIN_EXE_subprocess"));
        command.args(["1000", "", "sh", "-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout: Transport = child.stdout.take().expect("it is a pipe");
        // It has begun when it has a child.
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let grandchild = loop {
            let pids = fs::read_to_string(&children)?;
            if let Some(pid) = pids.split_whitespace().next() {
                break pid.to_owned();
            }
            after(Duration::from_millis(5)).await;
        };
        child.signal(Signal::Interrupt)?;
        assert_eq!(stdout.read(100).timeout(PATIENCE).await?, "sh: cancelled\n");
        assert!(child.wait().timeout(PATIENCE).await?.success());
        assert!(!fs::exists(format!("/proc/{grandchild}"))?, "the command still runs");
        Ok(())
    });
}

#[test]
fn periodic_counts_until_ctrl_c() {
    let dir = std::env::temp_dir().join(format!("thence-periodic-{}", std::process::id()));
    fs::create_dir_all(dir.join("below")).unwrap();
    fs::write(dir.join("a"), "12345").unwrap();
    fs::write(dir.join("below/b"), "678").unwrap();
    let counted = dir.display().to_string();
    test(async move {
        let program = Program::start(env!("CARGO_BIN_EXE_periodic"), &["0.01", &counted])?;
        for _ in 0..3 {
            assert_eq!(program.line().await?, "8 bytes");
        }
        program.child.signal(Signal::Interrupt)?;
        let mut times = 3;
        let last = loop {
            match program.line().await? {
                line if line == "8 bytes" => times += 1,
                line => break line,
            }
        };
        assert_eq!(last, format!("counted {times} times"));
        program.end().await
    });
    fs::remove_dir_all(dir).unwrap();
}
