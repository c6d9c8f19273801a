//! Two engines back to back, in memory.

use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rcgen::date_time_ymd;

use self::ca::{Ca, Pair};
use super::Engine;
use crate::net::tls::{Certificates, Roots, TlsClient, TlsServer, TlsVersion};

#[path = "../../../../tests/common/ca.rs"]
mod ca;

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const NAME: &str = "app.example";

/// Somebody to talk to, and what they said.
struct Side {
    engine: Engine,
    heard: BytesMut,
    failed: Option<std::io::Error>,
}

/// Both ends, and how many bytes of ciphertext go over at once.
struct Pipe {
    client: Side,
    server: Side,
    cut: usize,
}

impl Side {
    fn new(engine: Engine) -> Self {
        Side { engine, heard: BytesMut::new(), failed: None }
    }

    fn hear(&mut self, ciphertext: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.engine.incoming(ciphertext, &mut self.heard).err();
        }
    }

    fn failure(&self) -> String {
        self.failed.as_ref().expect("it failed").to_string()
    }
}

impl Pipe {
    fn new(client: &TlsClient, server: &TlsServer) -> Self {
        let client = Side::new(client.engine(NAME).unwrap());
        Pipe { client, server: Side::new(server.engine().unwrap()), cut: usize::MAX }
    }

    /// Lets everything over that is to be sent.
    fn run(&mut self) {
        loop {
            let to_server = self.client.engine.take_ciphertext();
            let to_client = self.server.engine.take_ciphertext();
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            to_server.chunks(self.cut).for_each(|part| self.server.hear(part));
            to_client.chunks(self.cut).for_each(|part| self.client.hear(part));
        }
    }

    fn shake_hands(&mut self) {
        self.run();
        for side in [&self.client, &self.server] {
            assert!(side.failed.is_none(), "{:?}", side.failed);
            assert!(!side.engine.is_handshaking());
        }
    }
}

fn server(pair: &Pair) -> TlsServer {
    TlsServer::new(&Certificates::from_pem(&pair.chain, &pair.key).unwrap())
}

fn client(ca: &Ca) -> TlsClient {
    TlsClient::new(&Roots::from_pem(&ca.pem).unwrap())
}

/// Two ends that trust each other.
fn pipe() -> Pipe {
    let ca = Ca::new("test");
    Pipe::new(&client(&ca), &server(&ca.issue(NAME)))
}

/// Both ends' failures when the server shows `pair`.
fn refused(ca: &Ca, pair: &Pair) -> (String, String) {
    let mut pipe = Pipe::new(&client(ca), &server(pair));
    pipe.run();
    (pipe.client.failure(), pipe.server.failure())
}

fn numbers(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn both_ends_hear_what_the_other_says_however_it_is_cut() {
    let ca = Ca::new("test");
    let server = server(&ca.issue(NAME));
    for version in VERSIONS {
        let client = client(&ca).only(version);
        for cut in (1..40).chain([255, 1000, 4095, 4096, 4097, 16_384]) {
            let mut pipe = Pipe::new(&client, &server);
            pipe.cut = cut;
            pipe.shake_hands();
            assert_eq!(pipe.server.engine.version(), Some(version));
            assert_eq!(pipe.client.engine.version(), Some(version));
            pipe.client.engine.outgoing(b"ping").unwrap();
            pipe.server.engine.outgoing(b"pong").unwrap();
            pipe.run();
            assert_eq!(
                (&pipe.server.heard[..], &pipe.client.heard[..]),
                (&b"ping"[..], &b"pong"[..])
            );
        }
    }
}

#[test]
fn a_megabyte_at_once_arrives_whole_both_ways() {
    let ca = Ca::new("test");
    let server = server(&ca.issue(NAME));
    let all = numbers(1 << 20);
    for version in VERSIONS {
        for cut in [777, 65_536, usize::MAX] {
            let mut pipe = Pipe::new(&client(&ca).only(version), &server);
            pipe.cut = cut;
            pipe.shake_hands();
            pipe.client.engine.outgoing(&all).unwrap();
            pipe.server.engine.outgoing(&all).unwrap();
            pipe.run();
            assert!(pipe.server.heard == all && pipe.client.heard == all, "{version}, {cut}");
        }
    }
}

#[test]
fn close_notify_ends_one_direction_only() {
    for version in VERSIONS {
        let ca = Ca::new("test");
        let mut pipe = Pipe::new(&client(&ca).only(version), &server(&ca.issue(NAME)));
        pipe.shake_hands();
        pipe.client.engine.outgoing(b"bye").unwrap();
        pipe.client.engine.close_notify();
        pipe.run();
        assert_eq!(pipe.server.heard, "bye");
        assert!(pipe.server.engine.peer_has_closed() && !pipe.client.engine.peer_has_closed());
        pipe.server.engine.outgoing(b"still here").unwrap();
        pipe.server.engine.close_notify();
        pipe.run();
        assert_eq!(pipe.client.heard, "still here");
        assert!(pipe.client.engine.peer_has_closed());
        assert!(pipe.client.engine.end_of_input().is_ok());
        assert!(pipe.server.engine.end_of_input().is_ok());
    }
}

#[test]
fn what_comes_after_close_notify_is_not_heard() {
    let mut pipe = pipe();
    pipe.shake_hands();
    pipe.client.engine.close_notify();
    let mut ciphertext = pipe.client.engine.take_ciphertext().to_vec();
    ciphertext.extend_from_slice(b"nonsense");
    pipe.server.hear(&ciphertext);
    pipe.server.hear(b"more of it");
    assert!(pipe.server.failed.is_none() && pipe.server.heard.is_empty());
    assert!(pipe.server.engine.peer_has_closed());
}

#[test]
fn an_end_without_close_notify_is_told_apart() {
    let mut pipe = pipe();
    for side in [&pipe.client, &pipe.server] {
        let error = side.engine.end_of_input().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("before the TLS handshake was done"), "{error}");
    }
    pipe.shake_hands();
    pipe.client.engine.outgoing(b"all of it?").unwrap();
    pipe.run();
    let error = pipe.server.engine.end_of_input().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().starts_with("the stream was cut off"), "{error}");
    assert_eq!(pipe.server.heard, "all of it?");
}

#[test]
fn the_server_chooses_the_protocol_it_likes_best() {
    let ca = Ca::new("test");
    let server = server(&ca.issue(NAME));
    let chosen = |ours: &[&str], theirs: &[&str]| {
        let server = server.clone().alpn(ours.iter().copied());
        let mut pipe = Pipe::new(&client(&ca).alpn(theirs.iter().copied()), &server);
        pipe.shake_hands();
        assert_eq!(pipe.client.engine.alpn(), pipe.server.engine.alpn());
        pipe.server.engine.alpn().map(|chosen| String::from_utf8_lossy(chosen).into_owned())
    };
    assert_eq!(chosen(&["h2", "http/1.1"], &["http/1.1", "h2"]).as_deref(), Some("h2"));
    assert_eq!(chosen(&["http/1.1"], &["h2", "http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(chosen(&["h2"], &[]), None);
    assert_eq!(chosen(&[], &["h2"]), None);
}

#[test]
fn without_a_common_protocol_both_ends_say_so() {
    let ca = Ca::new("test");
    let server = server(&ca.issue(NAME)).alpn(["h2"]);
    let mut pipe = Pipe::new(&client(&ca).alpn(["http/1.1", "spdy/1"]), &server);
    pipe.run();
    let text = "no application protocol (ALPN) in common: this end speaks h2";
    assert_eq!(pipe.server.failure(), text);
    let text = "the server speaks none of the application protocols (ALPN) offered: http/1.1, \
                spdy/1";
    assert_eq!(pipe.client.failure(), text);
}

#[test]
fn without_a_common_version_both_ends_say_so() {
    let ca = Ca::new("test");
    let server = server(&ca.issue(NAME)).only(TlsVersion::Tls13);
    let mut pipe = Pipe::new(&client(&ca).only(TlsVersion::Tls12), &server);
    pipe.run();
    assert!(pipe.server.failure().starts_with("no version of TLS in common"));
    assert_eq!(pipe.client.failure(), "the other end ended TLS with ProtocolVersion");
}

#[test]
fn a_certificate_for_another_name_is_refused_and_the_server_hears_of_it() {
    let ca = Ca::new("test");
    let (client, server) = refused(&ca, &ca.issue("other.example"));
    assert_eq!(
        client,
        "the certificate of `app.example` is for another name: it is for other.example"
    );
    assert_eq!(server, "the other end ended TLS with BadCertificate");
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let ca = Ca::new("test");
    let expired = ca.issue_with(NAME, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let (client, server) = refused(&ca, &expired);
    assert!(client.starts_with("the certificate of `app.example` expired "), "{client}");
    assert!(client.ends_with(" days ago"), "{client}");
    assert_eq!(server, "the other end refused this one's certificate: it has expired");
    let early = ca.issue_with(NAME, |params| params.not_before = date_time_ymd(4000, 1, 1));
    let (client, _) = refused(&ca, &early);
    assert!(client.ends_with("from now on: is the clock right?"), "{client}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let (client, server) = refused(&Ca::new("test"), &Ca::new("stranger").issue(NAME));
    assert!(
        client.starts_with("the certificate of `app.example` is signed by nobody that is trusted"),
        "{client}"
    );
    assert_eq!(
        server,
        "the other end refused this one's certificate: it does not know who signed it"
    );
}

#[test]
fn a_client_that_speaks_plain_http_is_told_from_other_nonsense() {
    let ca = Ca::new("test");
    let server = server(&ca.issue(NAME));
    for cut in [1, 3, 100] {
        let mut side = Side::new(server.engine().unwrap());
        b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n".chunks(cut).for_each(|part| side.hear(part));
        assert!(side.failure().starts_with("the client speaks plain HTTP where TLS was expected"));
        // The alert goes out before anybody hangs up.
        assert!(!side.engine.take_ciphertext().is_empty());
    }
    let mut side = Side::new(server.engine().unwrap());
    side.hear(b"SSH-2.0-OpenSSH_9.2\r\n");
    assert_eq!(
        side.failure(),
        "the other end does not speak TLS: it began with `SSH-2.0-`, expected a handshake"
    );
    assert_eq!(side.failed.unwrap().kind(), ErrorKind::InvalidData);
}

#[test]
fn a_server_that_speaks_plain_http_is_named() {
    let mut side = Side::new(client(&Ca::new("test")).engine(NAME).unwrap());
    side.hear(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(
        side.failure(),
        "`app.example` answers in plain HTTP where TLS was expected: is it the right port?"
    );
}

#[test]
fn one_changed_byte_ends_it_and_what_came_before_is_heard() {
    let mut pipe = pipe();
    pipe.shake_hands();
    pipe.client.engine.outgoing(b"good").unwrap();
    let mut ciphertext = pipe.client.engine.take_ciphertext().to_vec();
    pipe.client.engine.outgoing(b"forged").unwrap();
    let mut forged = pipe.client.engine.take_ciphertext().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    ciphertext.extend_from_slice(&forged);
    pipe.server.hear(&ciphertext);
    assert_eq!(pipe.server.heard, "good");
    assert!(pipe.server.failed.is_some());
    pipe.run();
    assert_eq!(pipe.client.failure(), "the other end ended TLS with BadRecordMac");
    assert!(pipe.server.engine.outgoing(b"more").is_err());
}

#[test]
fn a_record_longer_than_any_may_be_is_refused() {
    let mut pipe = pipe();
    pipe.shake_hands();
    let mut record = vec![23, 3, 3, 0xff, 0xff];
    record.extend(numbers(0xffff));
    pipe.server.hear(&record);
    assert!(pipe.server.failed.is_some());
    assert!(pipe.server.heard.is_empty());
}

#[test]
fn a_new_certificate_is_for_new_handshakes_and_resumes_no_old_session() {
    let ca = Ca::new("test");
    let (old, new) = (ca.issue(NAME), ca.issue(NAME));
    let certificates = Certificates::from_pem(&old.chain, &old.key).unwrap();
    let server = TlsServer::new(&certificates);
    for version in VERSIONS {
        certificates.replace(&old.chain, &old.key).unwrap();
        let client = client(&ca).only(version);
        let mut before = Pipe::new(&client, &server);
        before.shake_hands();
        // Begun, and not yet at the certificate.
        let mut between = Pipe::new(&client, &server);
        certificates.replace(&new.chain, &new.key).unwrap();
        let mut after = Pipe::new(&client, &server);
        between.shake_hands();
        after.shake_hands();
        let shown = |pipe: &Pipe| pipe.client.engine.peer_certificates();
        assert_eq!(shown(&before), shown(&between));
        assert_ne!(shown(&before), shown(&after), "{version}");
        before.client.engine.outgoing(b"goes on").unwrap();
        before.run();
        assert_eq!(before.server.heard, "goes on");
    }
}

#[test]
fn a_bad_certificate_is_refused_and_the_old_one_is_shown_on() {
    let ca = Ca::new("test");
    let (old, new) = (ca.issue(NAME), ca.issue(NAME));
    let certificates = Certificates::from_pem(&old.chain, &old.key).unwrap();
    let server = TlsServer::new(&certificates);
    let error = certificates.replace(&new.chain, &old.key).unwrap_err();
    assert!(error.to_string().contains("does not belong to the certificate"), "{error}");
    let mut pipe = Pipe::new(&client(&ca), &server);
    pipe.shake_hands();
    let own = rcgen_der(&old.chain);
    assert_eq!(pipe.client.engine.peer_certificates(), [own]);
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_expected() {
    let (ca, clients) = (Ca::new("servers"), Ca::new("clients"));
    let trusted = Roots::from_pem(&clients.pem).unwrap();
    let server = server(&ca.issue(NAME)).require_client_certificates(&trusted);
    for version in VERSIONS {
        let mut pipe = Pipe::new(&client(&ca).only(version), &server);
        pipe.run();
        assert_eq!(pipe.server.failure(), "the other end presented no certificate");
        assert!(pipe.client.failed.is_some(), "{version}");

        let stranger = ca.issue("stranger");
        let certificates = Certificates::from_pem(&stranger.chain, &stranger.key).unwrap();
        let mut pipe = Pipe::new(&client(&ca).only(version).certificates(&certificates), &server);
        pipe.run();
        let text = pipe.server.failure();
        assert!(text.starts_with("the client's certificate is signed by nobody"), "{text}");

        let known = clients.issue("known");
        let certificates = Certificates::from_pem(&known.chain, &known.key).unwrap();
        let mut pipe = Pipe::new(&client(&ca).only(version).certificates(&certificates), &server);
        pipe.shake_hands();
        assert_eq!(pipe.server.engine.peer_certificates(), [rcgen_der(&known.chain)]);
    }
}

#[test]
fn both_ends_know_whom_the_client_wanted() {
    let mut pipe = pipe();
    pipe.shake_hands();
    assert_eq!(pipe.server.engine.server_name(), Some(NAME));
    assert_eq!(pipe.client.engine.server_name(), Some(NAME));
}

#[test]
fn an_address_is_a_name_too_and_nonsense_is_none() {
    let ca = Ca::new("test");
    let server = server(&ca.issue("127.0.0.1"));
    let client = client(&ca);
    let mut pipe = Pipe::new(&client, &server);
    pipe.client = Side::new(client.engine("127.0.0.1").unwrap());
    pipe.shake_hands();
    assert_eq!(pipe.server.engine.server_name(), None);
    let error = client.engine("not a name").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "`not a name` is neither the name of a host nor an IP address");
}

fn rcgen_der(pem: &str) -> Bytes {
    let all = super::pem::certificates("it", pem.as_bytes()).unwrap();
    Bytes::copy_from_slice(&all[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_conversation_arrives_in_order_and_ends_well(
        tls12 in any::<bool>(),
        cut in 1..6000_usize,
        said in prop::collection::vec((any::<bool>(), 0..40_000_usize, any::<bool>()), 0..20),
    ) {
        let ca = Ca::new("test");
        let version = if tls12 { TlsVersion::Tls12 } else { TlsVersion::Tls13 };
        let mut pipe = Pipe::new(&client(&ca).only(version), &server(&ca.issue(NAME)));
        pipe.cut = cut;
        pipe.shake_hands();
        let (mut by_client, mut by_server) = (Vec::new(), Vec::new());
        for (is_client, len, run) in said {
            let (side, all) = match is_client {
                true => (&mut pipe.client, &mut by_client),
                false => (&mut pipe.server, &mut by_server),
            };
            let words = numbers(len);
            side.engine.outgoing(&words).unwrap();
            all.extend(words);
            if run {
                pipe.run();
            }
        }
        pipe.client.engine.close_notify();
        pipe.server.engine.close_notify();
        pipe.run();
        prop_assert!(pipe.server.heard == by_client && pipe.client.heard == by_server);
        prop_assert!(pipe.client.engine.end_of_input().is_ok());
        prop_assert!(pipe.server.engine.end_of_input().is_ok());
    }

    #[test]
    fn nonsense_never_panics_and_is_never_heard(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        cut in 1..500_usize,
        shaken in any::<bool>(),
    ) {
        let ca = Ca::new("test");
        let mut pipe = Pipe::new(&client(&ca), &server(&ca.issue(NAME)));
        if shaken {
            pipe.shake_hands();
        }
        for part in bytes.chunks(cut) {
            pipe.server.hear(part);
            pipe.client.hear(part);
        }
        prop_assert!(pipe.server.heard.is_empty() && pipe.client.heard.is_empty());
        prop_assert!(pipe.server.engine.end_of_input().is_err());
    }
}
