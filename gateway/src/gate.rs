//! The deck's last program: cookie, session, upstream, answer; one log line and the counters.

use std::{net::IpAddr, rc::Rc};

use http::{
    HeaderValue, Method, StatusCode, Uri, Version, header, request,
    uri::{Authority, PathAndQuery},
};
use thence::{
    Deferred, FlowContext, Never, Outcome, Stop,
    http::{Body, Request, Response},
};

use crate::{
    answer::{self, METHODS, Refusal},
    cut::Switch,
    denied::Denied,
    door::{Door, Turned},
    forward::{
        headers::{self, Said},
        rewrite::Rewrite,
    },
    limits::Limits,
    metrics::Metrics,
    relay::Relayed,
    request_id::RequestIds,
    session::Session,
    sessions::Sessions,
    upstream::Upstream,
    visit::Visit,
};

/// The gateway: everything a request meets on its way.
#[derive(Debug)]
pub struct Gate {
    /// Who may pass.
    pub sessions: Rc<Sessions>,
    /// What is counted.
    pub metrics: Rc<Metrics>,
    /// Where requests go.
    pub upstream: Rc<Upstream>,
    /// The path they get there.
    pub rewrite: Option<Rewrite>,
    /// What they are called.
    pub ids: RequestIds,
    /// How many there may be, and how slow.
    pub limits: Limits,
    /// Who was turned away.
    pub door: Rc<Door>,
}

impl Gate {
    /// Answers a request: the deck's `respond`.
    pub fn respond(self: &Rc<Self>, request: Request) -> Deferred<Response, Never> {
        let visit = Visit::begin(
            self.metrics.clone(),
            request.method(),
            request.uri(),
            request.headers(),
            request.peer_addr().ip(),
            self.ids.id_for(request.headers()),
        );
        // What asks the server itself, not the application (rule 16).
        if request.uri().path() == "*" && *request.method() == Method::OPTIONS {
            visit.ended(StatusCode::NO_CONTENT);
            return Deferred::ok(options());
        }
        // Whatever it sets off, and whatever fails of that unseen, is told under its name.
        let context = FlowContext::current().with_request_id(visit.request_id());
        context.enter(|| self.serve(request, visit))
    }

    fn serve(self: &Rc<Self>, request: Request, visit: Rc<Visit>) -> Deferred<Response, Never> {
        let hung_up = request.hang_up();
        visit.came_by(request.connection(), request.interim());
        let came = Came {
            peer: request.peer_addr().ip(),
            is_tls: request.tls().is_some(),
            server_name: request.tls().and_then(|tls| tls.server_name()).map(str::to_owned),
        };
        let (head, body) = request.into_inner().into_parts();

        let (gate, asking, answering) = (self.clone(), visit.clone(), visit.clone());
        let served = self
            .session_of_cookie(&head, came.server_name.as_deref())
            .and_then(move |session| gate.upstream_request(&session, head, body, &came, &asking))
            .named("upstream request");

        visit.works(served.canceller());
        let leaving = Rc::downgrade(&visit);
        // A client that has only said that it sends no more gets its answer.
        hung_up.gone().done(move |()| {
            if let Some(visit) = leaving.upgrade() {
                visit.client_left();
            }
        });

        let gate = self.clone();
        served
            .then(move |outcome| {
                Ok(match outcome {
                    // However what it had begun came to its end.
                    _ if answering.has_lost_its_session() => {
                        gate.upstream_request_failure(Refusal::SessionEnded.into(), &answering)
                    }
                    Outcome::Ok(answer) => gate.upstream_request_success(answer, &answering),
                    Outcome::Err(denied) => gate.upstream_request_failure(denied, &answering),
                    Outcome::Stop(stop) => gate.stopped(&stop, &answering),
                })
            })
            .named("respond")
    }

    fn session_of_cookie(
        &self,
        head: &request::Parts,
        server_name: Option<&str>,
    ) -> Deferred<Session, Denied> {
        match self.admit(head, server_name) {
            Ok(()) => self.sessions.of_cookie(&head.headers),
            Err(refusal) => Deferred::err(refusal.into()),
        }
    }

    /// What can be said without asking anybody.
    fn admit(&self, head: &request::Parts, server_name: Option<&str>) -> Result<(), Refusal> {
        if self.metrics.in_flight.get() > self.limits.in_flight {
            self.door.turned(Turned::Request, 1);
            return Err(Refusal::Overloaded);
        }
        if matches!(head.method, Method::CONNECT | Method::TRACE) {
            return Err(Refusal::Method);
        }
        // `*` is the target of OPTIONS alone, which has been answered.
        if !head.uri.path().starts_with('/') {
            return Err(Refusal::UnsafePath);
        }
        if server_name.is_some_and(|name| !is_for(head, name)) {
            return Err(Refusal::Misdirected);
        }
        if head
            .headers
            .get(header::EXPECT)
            .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(Refusal::UnknownExpectation);
        }
        if headers::times_seen(&head.headers) > self.limits.loops {
            return Err(Refusal::Loop);
        }
        Ok(())
    }

    fn upstream_request(
        &self,
        session: &Session,
        asked: request::Parts,
        body: Body,
        came: &Came,
        visit: &Rc<Visit>,
    ) -> Deferred<Response, Denied> {
        visit.of_account(session.account.as_str());
        visit.keep_connection(true);
        let head = match self.outgoing(session, asked, came, visit) {
            Ok(head) => head,
            Err(refusal) => return Deferred::err(refusal.into()),
        };
        // From here on the session's end is the request's.
        let (switch, watching) = {
            let ending = Rc::downgrade(visit);
            let switch = Switch::new(move || {
                if let Some(visit) = ending.upgrade() {
                    visit.session_ended();
                }
            });
            (switch.clone(), self.sessions.watch(session, switch))
        };
        let body = switch.request(body);
        visit.watched(switch, watching);
        self.upstream.send(head, body, visit)
    }

    /// The request as the upstream gets it.
    fn outgoing(
        &self,
        session: &Session,
        asked: request::Parts,
        came: &Came,
        visit: &Visit,
    ) -> Result<request::Parts, Refusal> {
        let root = PathAndQuery::from_static("/");
        let path = asked.uri.path_and_query().unwrap_or(&root);
        let rewrite = self.rewrite.as_ref();
        let rewritten = rewrite.map(|rewrite| rewrite.apply(path, &session.account)).transpose()?;
        let said = Said {
            session,
            peer: came.peer,
            request_id: visit.request_id(),
            is_tls: came.is_tls,
            asked: rewritten.is_some().then_some(path.as_str()),
        };
        let mut client = asked.headers;
        // The authority of an absolute target is the Host, whatever Host says (rule 15).
        if let Some(authority) = asked.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            client.insert(header::HOST, host);
        }
        // We speak 1.1 to the upstream (rule 13), which wants a Host; an old client may have none.
        if !client.contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_str(&self.upstream.destination().to_string())
        {
            client.insert(header::HOST, host);
        }
        let mut head = http::Request::new(()).into_parts().0;
        head.method = asked.method;
        head.headers = headers::to_upstream(&client, said);
        head.uri = Uri::from(rewritten.unwrap_or_else(|| path.clone()));
        Ok(head)
    }

    /// Hands the upstream's answer on.
    fn upstream_request_success(&self, answer: Response, visit: &Rc<Visit>) -> Response {
        let (mut head, body) = answer.into_parts();
        let status = head.status;
        visit.answering(status);
        head.headers = headers::to_client(&head.headers, visit.request_id());
        head.version = Version::HTTP_11;
        let ending = visit.clone();
        let body =
            if http_body::Body::is_end_stream(&body) { body } else { visit.can_be_cut(body) };
        let body = Relayed::new(body, visit.is_safe(), move |end| ending.relayed(status, end));
        Response::from_parts(head, Body::wrap(body))
    }

    /// Says why there is no answer. What failed is logged with its trail; what was merely refused
    /// is in the request's own line.
    fn upstream_request_failure(&self, denied: Denied, visit: &Rc<Visit>) -> Response {
        let Denied { refusal, failure } = denied;
        if matches!(refusal, Refusal::NoSession | Refusal::SessionEnded) {
            visit.keep_connection(false);
        }
        let is_clients = visit.has_left() || visit.body_failure().is_some();
        if let Some(failure) = failure
            && !is_clients
        {
            if refusal != Refusal::StoreDown {
                self.metrics.upstream_failure(refusal);
            }
            // Of an outage one is as good as ten thousand, and each request has its own line.
            if let Some(unsaid) = self.metrics.failure_is_said(refusal) {
                let (id, said) = (visit.request_id(), failure.without_backtrace());
                tracing::warn!(request_id = id, unsaid, "{}: {said}", refusal.word());
            }
        }
        let mut answer = refuse(refusal, visit);
        if answer.status() == StatusCode::UNAUTHORIZED {
            let challenge = answer::challenge(self.sessions.cookie());
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    }

    /// The chain did not come to its end: the client left, the drain's time is up, or a step
    /// panicked.
    fn stopped(&self, stop: &Stop, visit: &Rc<Visit>) -> Response {
        if matches!(stop, Stop::Cancelled) {
            if !visit.has_left() {
                visit.cut_off();
            }
            return refuse(Refusal::Draining, visit);
        }
        tracing::error!(request_id = visit.request_id(), "{stop}");
        refuse(Refusal::Fault, visit)
    }
}

/// How a request came.
struct Came {
    peer: IpAddr,
    is_tls: bool,
    server_name: Option<String>,
}

/// Whether a request is for the host its connection was made to (rule 72): a client that keeps one
/// for several hosts may be wrong about which of them answer here.
fn is_for(head: &request::Parts, server_name: &str) -> bool {
    let host = match head.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => head.headers.get(header::HOST).and_then(|host| host.as_bytes().try_into().ok()),
    };
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    host.is_some_and(|host: Authority| bare(host.host()) == bare(server_name))
}

fn options() -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
    answer
}

fn refuse(refusal: Refusal, visit: &Rc<Visit>) -> Response {
    if !visit.has_left() {
        visit.refused(refusal.word());
    }
    let answer = refusal.answer(visit.accept(), visit.request_id());
    visit.ended(answer.status());
    answer.map(Body::from)
}
