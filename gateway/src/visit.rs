//! A request while it is being served: how far it has come, what its client's leaving means at that
//! point, and its one log line.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Instant,
};

use http::{HeaderMap, Method, StatusCode, Uri, header};
use thence::{
    Canceller,
    http::{Body, ConnectionRef, Interim},
    now,
};

use crate::{
    access_log::Record,
    answer::Refusal,
    cut::Switch,
    forward::headers,
    metrics::{Metrics, Outcome},
    relay::Ending,
    sessions::Watching,
};

/// How far a request has come.
///
/// ```text
/// Waiting --sent()--> Sent --answering()--> Answering --ended()--> Over
///    `----------------- ended() ---------------------------------^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The upstream has heard nothing of it: whoever leaves now is forgotten.
    Waiting,
    /// The upstream is at it: a safe request is cancelled, any other runs to its end.
    Sent,
    /// The answer is on its way to the client; its body knows what leaving means.
    Answering,
    /// It has its log line.
    Over,
}

/// A request being served.
pub struct Visit {
    metrics: Rc<Metrics>,
    record: RefCell<Option<Record>>,
    began: Instant,
    safe: bool,
    stage: Cell<Stage>,
    left: Cell<bool>,
    /// The status of the upstream's answer.
    answered: Cell<u16>,
    /// Whether the end of the drain cut it.
    cut: Cell<bool>,
    /// What was wrong with the client's body, which is no failure of the upstream.
    body: Cell<Option<Refusal>>,
    work: RefCell<Option<Canceller>>,
    came_by: RefCell<Option<(ConnectionRef, Interim)>>,
    /// What ends it with its session, from the moment on at which it has one.
    watched: RefCell<Option<(Switch, Watching)>>,
    /// Whether its session ended before its answer began.
    orphaned: Cell<bool>,
    /// What the client accepts, for an answer of ours.
    accept: HeaderMap,
    request_id: String,
}

impl Visit {
    /// A request has come in.
    pub fn begin(
        metrics: Rc<Metrics>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        peer: std::net::IpAddr,
        request_id: String,
    ) -> Rc<Self> {
        metrics.in_flight.set(metrics.in_flight.get() + 1);
        let accept = headers.get_all(header::ACCEPT).iter().cloned();
        Rc::new(Self {
            metrics,
            record: RefCell::new(Some(Record::begin(method, uri, &request_id, peer))),
            began: now(),
            safe: method.is_safe(),
            stage: Cell::new(Stage::Waiting),
            left: Cell::new(false),
            answered: Cell::new(0),
            cut: Cell::new(false),
            body: Cell::new(None),
            work: RefCell::new(None),
            came_by: RefCell::new(None),
            watched: RefCell::new(None),
            orphaned: Cell::new(false),
            accept: accept.map(|line| (header::ACCEPT, line)).collect(),
            request_id,
        })
    }

    /// Names the work that is to be cancelled should the client leave too early.
    pub fn works(&self, work: Canceller) {
        if self.stage.get() != Stage::Over {
            self.work.replace(Some(work));
        }
    }

    /// Whose request it is.
    pub fn of_account(&self, account: &str) {
        self.note(|record| record.account = Some(account.to_owned()));
    }

    /// It has a session, whose end cuts it.
    pub fn watched(&self, switch: Switch, watching: Watching) {
        if self.stage.get() != Stage::Over {
            self.watched.replace(Some((switch, watching)));
        }
    }

    /// Its answer's body, which the end of its session cuts.
    pub fn can_be_cut(&self, body: Body) -> Body {
        match &*self.watched.borrow() {
            Some((switch, _)) => switch.answer(body),
            None => body,
        }
    }

    /// Its session was revoked or has run out: it is cut, however far it has come (S7).
    pub fn session_ended(&self) {
        match self.stage.get() {
            Stage::Waiting | Stage::Sent => {
                self.orphaned.set(true);
                let work = self.work.take();
                if let Some(work) = work {
                    work.cancel();
                }
            }
            Stage::Answering => {
                self.refused(Refusal::SessionEnded.word());
                self.write(self.answered.get(), Outcome::Cancelled);
            }
            Stage::Over => {}
        }
    }

    /// Whether its session ended before its answer began.
    pub fn has_lost_its_session(&self) -> bool {
        self.orphaned.get()
    }

    /// The connection it came by, and what its client can be told on it before the answer.
    pub fn came_by(&self, connection: ConnectionRef, interim: Interim) {
        self.came_by.replace(Some((connection, interim)));
    }

    /// Whether its connection has a place even when many others want one: those without a session
    /// cannot push out those with one.
    pub fn keep_connection(&self, is_kept: bool) {
        if let Some((connection, _)) = &*self.came_by.borrow() {
            connection.keep(is_kept);
        }
    }

    /// The upstream has said something before its answer. 100 is ours to say, and no protocol is
    /// switched (rules 35, 39).
    pub fn answers_soon(&self, head: &http::Response<()>) {
        if head.status() == StatusCode::CONTINUE {
            return;
        }
        if let Some((_, interim)) = &*self.came_by.borrow() {
            // It is advice: whether it can be told is not asked.
            interim.send(head.status(), &headers::before_answer(head.headers()));
        }
    }

    /// The upstream is about to hear of it.
    pub fn sent(&self) {
        self.advance(Stage::Sent);
    }

    /// It is sent again (rule 66).
    pub fn sent_again(&self) {
        self.metrics.retry();
        self.note(|record| record.retries += 1);
    }

    /// The upstream has answered.
    pub fn answering(&self, status: StatusCode) {
        self.advance(Stage::Answering);
        self.answered.set(status.as_u16());
        self.note(|record| record.upstream_status = Some(status.as_u16()));
    }

    /// The gateway answers itself, for this reason.
    pub fn refused(&self, word: &'static str) {
        self.note(|record| record.refused = Some(word));
    }

    /// The client is gone. What was answered before that stays what it was.
    pub fn client_left(&self) {
        if self.stage.get() != Stage::Answering && !self.left.replace(true) {
            self.metrics.left_behind.set(self.metrics.left_behind.get() + 1);
        }
        let cut = match self.stage.get() {
            Stage::Waiting => true,
            Stage::Sent => self.safe,
            Stage::Answering | Stage::Over => false,
        };
        let work = if cut { self.work.take() } else { None };
        if let Some(work) = work {
            work.cancel();
        }
    }

    /// The client's body failed.
    pub fn body_failed(&self, refusal: Refusal) {
        self.body.set(Some(refusal));
    }

    /// What was wrong with the client's body, if something was.
    pub fn body_failure(&self) -> Option<Refusal> {
        self.body.get()
    }

    /// The drain's time is up.
    pub fn cut_off(&self) {
        self.cut.set(true);
        self.metrics.cut.set(self.metrics.cut.get() + 1);
    }

    /// Whether the client is gone.
    pub fn has_left(&self) -> bool {
        self.left.get()
    }

    /// Whether its method promises to change nothing.
    pub fn is_safe(&self) -> bool {
        self.safe
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Its name in the log.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The fields that an answer of ours depends on.
    pub fn accept(&self) -> &HeaderMap {
        &self.accept
    }

    /// It came to its end with an answer of ours or without any. Writes the line, once.
    pub fn ended(&self, status: StatusCode) {
        let was_cut = self.left.get() || self.cut.get() || self.orphaned.get();
        let outcome = match self.stage.get() {
            Stage::Waiting if was_cut => Outcome::NotSent,
            Stage::Sent if was_cut => Outcome::Cancelled,
            _ => Outcome::Finished,
        };
        self.write(status.as_u16(), outcome);
    }

    /// Its answer's body came to an end. Writes the line, once.
    pub fn relayed(&self, status: StatusCode, ending: Ending) {
        if ending != Ending::Finished && !self.left.get() && self.metrics.is_drain_over() {
            // Neither the client nor the upstream is to blame.
            self.cut_off();
            self.refused(Refusal::Draining.word());
            return self.write(status.as_u16(), Outcome::Cancelled);
        }
        let outcome = match ending {
            Ending::Finished | Ending::Broken => Outcome::Finished,
            Ending::Cancelled => Outcome::Cancelled,
            Ending::Drained => Outcome::Finished,
        };
        match ending {
            // The status is on the wire; what broke off behind it is said beside it.
            Ending::Broken => self.refused("upstream_broke_off"),
            Ending::Cancelled | Ending::Drained if !self.left.get() => self.refused("client_left"),
            Ending::Cancelled | Ending::Drained => {}
            Ending::Finished => {}
        }
        self.write(status.as_u16(), outcome);
    }

    fn write(&self, status: u16, outcome: Outcome) {
        self.stage.set(Stage::Over);
        self.work.take();
        let watched = self.watched.take();
        drop(watched);
        let Some(record) = self.record.take() else { return };
        let status = if self.left.get() { CLIENT_LEFT } else { status };
        let took = now().saturating_duration_since(self.began);
        self.metrics.request(status, outcome, took);
        record.end(status, outcome, took);
    }

    fn advance(&self, to: Stage) {
        if self.stage.get() != Stage::Over {
            self.stage.set(to);
        }
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.record.borrow_mut().as_mut() {
            change(record);
        }
    }
}

impl Drop for Visit {
    /// A visit that nobody ended (a panic, a cut drain) is a line and a count all the same.
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            let took = now().saturating_duration_since(self.began);
            self.metrics.request(500, Outcome::Cancelled, took);
            drop(record);
        }
        self.metrics.in_flight.set(self.metrics.in_flight.get() - 1);
        if self.left.get() {
            self.metrics.left_behind.set(self.metrics.left_behind.get() - 1);
        }
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("request_id", &self.request_id)
            .field("stage", &self.stage.get())
            .field("left", &self.left.get())
            .finish_non_exhaustive()
    }
}

/// What a log says of a client that left before its answer began; no client ever sees it.
const CLIENT_LEFT: u16 = 499;

#[cfg(test)]
mod tests;
