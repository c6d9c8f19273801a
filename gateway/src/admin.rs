//! The second listener: metrics and health, for this machine only (rule 74).

use std::rc::Rc;

use http::{HeaderValue, Method, StatusCode, header};
use thence::{
    Deferred,
    http::{Body, Request, Response},
};

use crate::{door::Door, log_writer::LogWriter, metrics::Metrics, sessions::Sessions};

/// What the second listener shows.
#[derive(Debug)]
pub struct Admin {
    /// The counts.
    pub metrics: Rc<Metrics>,
    /// The store that has to answer.
    pub sessions: Rc<Sessions>,
    /// The log, of which lines may be lost.
    pub log: LogWriter,
    /// Who was turned away.
    pub door: Rc<Door>,
}

impl Admin {
    /// Answers a request.
    pub fn respond(&self, request: &Request) -> Deferred<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Deferred::ok(text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n"));
        }
        match request.uri().path() {
            "/livez" => Deferred::ok(text(StatusCode::OK, "ok\n")),
            "/readyz" => Deferred::ok(self.ready()),
            "/metrics" => Deferred::ok(self.metrics()),
            _ => {
                Deferred::ok(text(StatusCode::NOT_FOUND, "expected /metrics, /livez or /readyz\n"))
            }
        }
    }

    /// What was seen last: whoever asks often, or many who ask at once, cost no look-up.
    fn ready(&self) -> Response {
        let health = self.sessions.health();
        let seen = format!("{:.1} s ago", health.age().as_secs_f64());
        let mut reasons = Vec::new();
        // Then nobody should send it more.
        if self.metrics.drain_ends.get().is_some() {
            reasons.push("draining".to_owned());
        }
        if let Some(trouble) = health.trouble() {
            reasons.push(format!("the session store does not answer, {seen}: {trouble}"));
        }
        if reasons.is_empty() {
            // Not 503: whoever takes this gateway out for it sends the crowd to the next.
            let crowd =
                if self.door.is_crowded() { "crowded: some were turned away\n" } else { "" };
            return text(StatusCode::OK, format!("ok\nthe session store answered {seen}\n{crowd}"));
        }
        text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }

    fn metrics(&self) -> Response {
        self.metrics.worker_queue.set(self.sessions.waiting());
        self.metrics.log_lines_lost.set(self.log.lost());
        let mut page = text(StatusCode::OK, self.metrics.render() + &self.door.render());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        page.headers_mut().insert(header::CONTENT_TYPE, kind);
        page
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
