//! The gateway on TLS, by a client of rustls and nothing else.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};

use crate::common::{Client, Gate, SOON, Upstream, gate};

/// A CA, and the folder with what the gateway shows.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, root, dir: tempfile::tempdir().unwrap() }
    }

    fn cert(&self) -> PathBuf {
        self.dir.path().join("app.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("app.key")
    }

    /// A fresh certificate of `app.test` and its key, both in PEM.
    fn issued(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["app.test".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn put(&self, (cert, key): &(String, String)) {
        fs::write(self.cert(), cert).unwrap();
        fs::write(self.key(), key).unwrap();
    }

    fn flags(&self) -> [String; 4] {
        let file = |path: PathBuf| path.display().to_string();
        ["--tls-cert".into(), file(self.cert()), "--tls-key".into(), file(self.key())]
    }

    fn gate(&self, upstream: &Upstream) -> Gate {
        self.put(&self.issued());
        Gate::before(upstream.address, &self.flags().each_ref().map(String::as_str))
    }

    fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

/// A connection whose handshake is done.
struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    fn to(address: SocketAddr, trust: &Arc<ClientConfig>) -> Result<Self, String> {
        let socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(SOON)).unwrap();
        let name = ServerName::try_from("app.test").unwrap();
        let client = ClientConnection::new(trust.clone(), name).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            let StreamOwned { conn, sock } = &mut stream;
            conn.complete_io(sock).map_err(|error| format!("handshake: {error}"))?;
        }
        Ok(Self(stream))
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// One request; the head and body of its answer.
    fn ask(&mut self, host: &str, fields: &str) -> Result<String, String> {
        let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes()).map_err(|error| format!("request: {error}"))?;
        let mut answer = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = crate::common::field(head, "content-length").unwrap_or("0");
                if body.len() >= length.parse().unwrap() {
                    return Ok(text.into_owned());
                }
            }
            match self.0.read(&mut bytes) {
                Ok(0) => return Err(format!("the connection ended after {text:?}")),
                Ok(count) => answer.extend_from_slice(&bytes[..count]),
                Err(error) => return Err(format!("answer: {error}")),
            }
        }
    }
}

/// Says whose request it saw.
fn echo() -> Upstream {
    Upstream::start(|stream, got| {
        let account = got.field("x-account-id").unwrap_or("-");
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{account}", account.len());
        stream.write_all(answer.as_bytes()).is_ok()
    })
}

fn cookie(gate: &Gate, account: &str) -> String {
    let line = gate.session(&["create", account, "--secure"]).out;
    assert!(line.starts_with("__Host-sessionId="), "{line}");
    format!("Cookie: {}\r\n", line.trim_end())
}

#[test]
fn a_request_on_tls_is_one_with_a_host_cookie() {
    let (authority, upstream) = (Authority::new(), echo());
    let gate = authority.gate(&upstream);
    let cookie = cookie(&gate, "42");
    let mut client = Secure::to(gate.address, &authority.trust()).unwrap();
    let answer = client.ask("app.test", &cookie).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n42"), "{answer}");
    let seen = upstream.got.all().remove(0);
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("cookie"), None);

    // Anybody on the way can set this one, so it proves nothing here.
    let plain = cookie.replace("__Host-", "");
    let answer = client.ask("app.test", &plain).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("cookie-name=\"__Host-sessionId\""), "{answer}");
}

#[test]
fn a_host_other_than_the_one_asked_for_is_misdirected() {
    let (authority, upstream) = (Authority::new(), echo());
    let gate = authority.gate(&upstream);
    let cookie = cookie(&gate, "42");
    let mut client = Secure::to(gate.address, &authority.trust()).unwrap();
    for host in ["app.test", "APP.test", "app.test:8443", "app.test."] {
        let answer = client.ask(host, &cookie).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    for host in ["other.test", "127.0.0.1", "sub.app.test", ""] {
        let answer = client.ask(host, &cookie).unwrap();
        assert!(answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
    }
    assert_eq!(upstream.got.all().len(), 4);
}

#[test]
fn plain_http_on_the_tls_port_is_told_so() {
    let (authority, upstream) = (Authority::new(), echo());
    let gate = authority.gate(&upstream);
    let answer = gate.get("/", "");
    assert_eq!(answer.status, 400);
    assert!(answer.whole && answer.text().contains("https"), "{answer:?}");
    // And what is neither is told by TLS.
    let mut other = Client::to(gate.address);
    other.send([0x80, 0x2e, 1, 0, 2]);
    assert!(!other.is_closed(), "an alert");
    assert!(other.is_closed());
    let mut client = Secure::to(gate.address, &authority.trust()).unwrap();
    assert!(client.ask("app.test", "").unwrap().starts_with("HTTP/1.1 401 "));
}

#[test]
fn no_handshake_fails_while_certificates_are_replaced() {
    const REPLACED: usize = 25;
    let (authority, upstream) = (Authority::new(), echo());
    let gate = authority.gate(&upstream);
    let pairs = [authority.issued(), authority.issued()];
    let (cookie, trust, address) = (cookie(&gate, "42"), authority.trust(), gate.address);
    let (is_over, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (seen, failures) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let mut lasting = Secure::to(address, &trust).unwrap();
    seen.lock().unwrap().insert(lasting.certificate());

    thread::scope(|scope| {
        for resumes in [true, true, false] {
            let (trust, cookie, authority) = (&trust, &cookie, &authority);
            let (is_over, handshakes) = (&is_over, &handshakes);
            let (seen, failures) = (&seen, &failures);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // Tickets of the old certificate are in the hands of those who resume.
                    let fresh = (!resumes).then(|| authority.trust());
                    let asked = Secure::to(address, fresh.as_ref().unwrap_or(trust)).and_then(
                        |mut client| {
                            seen.lock().unwrap().insert(client.certificate());
                            client.ask("app.test", cookie)
                        },
                    );
                    match asked {
                        Ok(answer) if answer.ends_with("\r\n\r\n42") => {}
                        Ok(answer) => failures.lock().unwrap().push(answer),
                        Err(error) => failures.lock().unwrap().push(error),
                    }
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..REPLACED {
            let before = handshakes.load(Ordering::Relaxed);
            authority.put(&pairs[number % 2]);
            gate.signal("HUP");
            gate.log.wait_for(number + 1, |line| is_said(line, "are read again"));
            let answer = lasting.ask("app.test", &cookie).unwrap();
            assert!(answer.ends_with("\r\n\r\n42"), "{answer}");
            // Each of them is shown to somebody.
            let begin = std::time::Instant::now();
            while handshakes.load(Ordering::Relaxed) < before + 6 {
                assert!(begin.elapsed() < SOON, "nobody comes any more");
                thread::yield_now();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });

    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
    assert_eq!(seen.into_inner().unwrap().len(), 3, "the first, and both that replaced it");
    assert!(handshakes.into_inner() >= REPLACED * 6);
}

#[test]
fn files_that_are_wrong_are_named_and_the_old_certificate_stays() {
    let (authority, upstream) = (Authority::new(), echo());
    let gate = authority.gate(&upstream);
    let trust = authority.trust();
    let shown = Secure::to(gate.address, &trust).unwrap().certificate();
    let (cert, key) = (authority.cert(), authority.key());
    let other = authority.issued();
    let wrong: [(&str, &dyn Fn()); 3] = [
        ("app.pem", &|| fs::write(&cert, "nothing of the kind").unwrap()),
        ("does not belong", &|| fs::write(&cert, &other.0).unwrap()),
        ("app.key", &|| fs::remove_file(&key).unwrap()),
    ];
    for (number, (named, break_it)) in wrong.into_iter().enumerate() {
        break_it();
        gate.signal("HUP");
        let said = gate.log.wait_for(number + 1, |line| is_said(line, "the old certificate stays"));
        let line = &said[number];
        assert_eq!(line["level"], "ERROR");
        assert!(line["message"].as_str().unwrap().contains(named), "{line}");
        assert_eq!(Secure::to(gate.address, &trust).unwrap().certificate(), shown);
    }
    authority.put(&other);
    gate.signal("HUP");
    gate.log.wait_for(1, |line| is_said(line, "are read again"));
    assert_ne!(Secure::to(gate.address, &trust).unwrap().certificate(), shown);
}

#[test]
fn a_client_that_breaks_its_handshake_off_harms_nobody() {
    let (authority, upstream) = (Authority::new(), echo());
    let mut gate = authority.gate(&upstream);
    for bytes in [&[][..], &[22], &[22, 3, 1, 0, 200, 1, 0]] {
        let mut client = Client::to(gate.address);
        client.send(bytes);
        client.leave();
    }
    let mut client = Secure::to(gate.address, &authority.trust()).unwrap();
    assert!(client.ask("app.test", "").unwrap().starts_with("HTTP/1.1 401 "));
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(0));
    // TLS's own end came before the connection's: rustls fails this read otherwise.
    assert_eq!(client.0.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_gateway_without_a_good_certificate_does_not_start() {
    let authority = Authority::new();
    let (cert, key) = authority.issued();
    fs::write(authority.cert(), "nothing of the kind").unwrap();
    fs::write(authority.key(), key).unwrap();
    let store = authority.dir.path().join("sessions.db").display().to_string();
    let flags = ["--to", ":9", "--listen", ":0", "--metrics", ":0", "--store", &store];
    let words = || flags.map(str::to_owned).into_iter().chain(authority.flags());
    let ran = gate(words());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("app.pem") && ran.err.contains("to do"), "{ran:?}");

    let ran = gate(["doctor".to_owned()].into_iter().chain(words()));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("bad   certificate"), "{}", ran.out);
    fs::write(authority.cert(), cert).unwrap();
    let ran = gate(["doctor".to_owned()].into_iter().chain(words()));
    assert!(ran.out.contains("ok    certificate"), "{}", ran.out);
}

fn is_said(line: &serde_json::Value, text: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.contains(text))
}
