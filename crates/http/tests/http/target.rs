//! What a client's requests say of where they go, by the bytes that the other side gets.

use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, Version};
use thence_core::{Deferred, Outcome};
use thence_http::{Body, Client, ClientError, ClientErrorKind, Response};
use thence_reactor::driver::manual::PeerListener;

use crate::common::world::World;

/// Somebody who listens, and what requests say to them.
struct Asked {
    world: World,
    client: Client,
    upstream: PeerListener,
}

impl Asked {
    fn at(addr: &str) -> Self {
        let world = World::new();
        let upstream = world.manual.listen(addr.parse::<std::net::SocketAddr>().unwrap()).unwrap();
        Self { client: Client::default(), upstream, world }
    }

    /// The head that goes out, line by line.
    fn head(&mut self, request: Request<Body>) -> Vec<String> {
        let answer = self.client.request(request);
        self.sent(answer)
    }

    /// The same over a connection to that address, whatever the URI says.
    fn head_over_a_connection(&mut self, request: Request<Body>) -> Vec<String> {
        let connection = self.client.connect(self.upstream.local_addr());
        let answer = connection.and_then(move |connection| connection.send(request));
        self.sent(answer)
    }

    fn sent(&mut self, answer: Deferred<Response>) -> Vec<String> {
        self.world.settle();
        let peer = self.upstream.accept().expect("a connection is made");
        let head = self.world.hear(&peer);
        peer.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        self.world.settle();
        answer.map(drop).report();
        self.world.settle();
        head.lines().map(str::to_owned).collect()
    }

    fn refused(&mut self, request: Request<Body>) -> String {
        let answer = self.client.request(request);
        self.world.settle();
        assert!(self.upstream.accept().is_none(), "nobody is connected to");
        why(answer)
    }
}

fn why(answer: Deferred<Response>) -> String {
    let said = std::rc::Rc::new(std::cell::RefCell::default());
    let text = said.clone();
    answer.settled().done(move |outcome: Outcome<Response, _>| {
        let failure = outcome.err().expect("it must be refused");
        let error = failure.downcast_ref::<ClientError>().expect("it must be a ClientError");
        assert_eq!((error.kind(), error.was_sent()), (ClientErrorKind::InvalidRequest, false));
        text.replace(format!("{failure:#}"));
    });
    said.take()
}

fn ask(method: Method, uri: &str) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
}

fn get(uri: &str) -> Request<Body> {
    ask(Method::GET, uri)
}

fn has(head: &[String], line: &str) -> bool {
    head.iter().any(|other| other == line)
}

#[test]
fn a_uri_becomes_a_path_and_a_host() {
    for (listen, uri, line, host) in [
        ("127.0.0.1:9000", "http://127.0.0.1:9000/x?q#f", "/x?q", "127.0.0.1:9000"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000", "/", "127.0.0.1:9000"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000?q=1", "/?q=1", "127.0.0.1:9000"),
        ("127.0.0.1:9000", "127.0.0.1:9000", "/", "127.0.0.1:9000"),
        ("127.0.0.1:80", "http://127.0.0.1/", "/", "127.0.0.1"),
        ("127.0.0.1:80", "http://127.0.0.1:/", "/", "127.0.0.1"),
        ("127.0.0.1:80", "http://127.0.0.1:80/", "/", "127.0.0.1"),
        ("[::1]:9000", "http://[::1]:9000/", "/", "[::1]:9000"),
        ("[::1]:80", "http://[::1]:080/", "/", "[::1]"),
    ] {
        let head = Asked::at(listen).head(get(uri));
        assert_eq!(head[0], format!("GET {line} HTTP/1.1"), "{uri}");
        assert!(has(&head, &format!("host: {host}")), "{uri}: {head:?}");
    }
}

#[test]
fn the_same_holds_over_a_connection() {
    for (uri, line, host) in [
        ("http://app.test/x", "/x", "app.test"),
        ("http://app.test:8080?q", "/?q", "app.test:8080"),
        ("/x", "/x", "127.0.0.1:9000"),
    ] {
        let head = Asked::at("127.0.0.1:9000").head_over_a_connection(get(uri));
        assert_eq!(head[0], format!("GET {line} HTTP/1.1"), "{uri}");
        assert!(has(&head, &format!("host: {host}")), "{uri}: {head:?}");
    }
}

#[test]
fn a_password_in_a_uri_is_credentials_and_never_a_part_of_host() {
    let mut asked = Asked::at("127.0.0.1:9000");
    for (said, basic) in [
        ("user:secret", "dXNlcjpzZWNyZXQ="),
        ("user", "dXNlcjo="),
        ("u%3aser:p%40ss", "dTpzZXI6cEBzcw=="),
        ("a:b%+5", "YTpiJSs1"),
    ] {
        let head = asked.head(get(&format!("http://{said}@127.0.0.1:9000/")));
        assert!(has(&head, "host: 127.0.0.1:9000"), "{head:?}");
        assert!(has(&head, &format!("authorization: Basic {basic}")), "{said}: {head:?}");
    }
    let mut own = get("http://user:secret@127.0.0.1:9000/");
    own.headers_mut().insert(AUTHORIZATION, "Bearer mine".parse().unwrap());
    let head = asked.head(own);
    assert!(has(&head, "authorization: Bearer mine") && !head.concat().contains("Basic"));
}

#[test]
fn a_host_that_was_set_is_kept_and_has_to_be_one() {
    for host in ["other.test", "other.test:8443", "[::2]:9", "under_score", ""] {
        let mut request = get("http://127.0.0.1:9000/");
        request.headers_mut().insert(HOST, host.parse().unwrap());
        let head = Asked::at("127.0.0.1:9000").head(request);
        assert!(head.iter().any(|line| line.trim_end() == format!("host: {host}").trim_end()));
    }
    for host in ["a b", "a/b", "u@a", "a:b", "[::1", "a, b", "a:80:80", ":80"] {
        let mut request = get("http://127.0.0.1:9000/");
        request.headers_mut().insert(HOST, host.parse().unwrap());
        let why = Asked::at("127.0.0.1:9000").refused(request);
        assert!(why.contains("is not HOST[:PORT]"), "{host}: {why}");
    }
    let mut two = get("http://127.0.0.1:9000/");
    two.headers_mut().append(HOST, "a".parse().unwrap());
    two.headers_mut().append(HOST, "a".parse().unwrap());
    assert!(Asked::at("127.0.0.1:9000").refused(two).contains("more than one Host"));
}

#[test]
fn what_no_origin_server_can_be_asked_is_refused() {
    let mut asked = Asked::at("127.0.0.1:9000");
    for (request, why) in [
        (ask(Method::CONNECT, "127.0.0.1:9000"), "CONNECT"),
        (get("/path"), "has no host"),
        (get("*"), "has no host"),
        (get("https://127.0.0.1:9000/"), "http:// only"),
        (get("http://127.0.0.1:99999/"), "no such port"),
        (get("http://user:secret@127.0.0.1:99999/"), "`127.0.0.1:99999` is not"),
    ] {
        let said = asked.refused(request);
        assert!(said.contains(why) && !said.contains("secret"), "{why}: {said}");
    }
    let to = asked.upstream.local_addr();
    for (method, is_sent) in [(Method::GET, false), (Method::OPTIONS, true)] {
        let request = ask(method, "*");
        let answer = asked.client.connect(to).and_then(move |connection| connection.send(request));
        asked.world.settle();
        let peer = asked.upstream.accept().expect("the same connection is kept");
        assert_eq!(asked.world.hear(&peer).starts_with("OPTIONS * HTTP/1.1\r\n"), is_sent);
        if is_sent {
            answer.cancel();
            asked.world.settle();
        } else {
            assert!(why(answer).contains('*'));
            // What could not be sent took nothing from its connection.
            assert_eq!(asked.client.idle(), 1);
            asked.client = Client::default();
        }
    }
}

#[test]
fn a_version_that_cannot_be_written_is_sent_as_1_1() {
    let mut asked = Asked::at("127.0.0.1:9000");
    for (version, line) in [
        (Version::HTTP_09, "GET / HTTP/1.1"),
        (Version::HTTP_10, "GET / HTTP/1.0"),
        (Version::HTTP_2, "GET / HTTP/1.1"),
        (Version::HTTP_3, "GET / HTTP/1.1"),
    ] {
        let mut request = get("http://127.0.0.1:9000/");
        *request.version_mut() = version;
        assert_eq!(asked.head(request)[0], line);
    }
}
