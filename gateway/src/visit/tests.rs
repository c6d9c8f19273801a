use thence::Deferred;

use super::*;

fn visit(method: &Method) -> (Rc<Visit>, Rc<Metrics>) {
    let metrics = Rc::new(Metrics::default());
    let uri = Uri::from_static("/x");
    let peer = [127, 0, 0, 1].into();
    let visit = Visit::begin(metrics.clone(), method, &uri, &HeaderMap::new(), peer, "r".into());
    (visit, metrics)
}

fn counted(metrics: &Metrics, code: u16, outcome: &str) -> bool {
    metrics.render().contains(&format!("code=\"{code}\",outcome=\"{outcome}\"}} 1\n"))
}

/// Whether the work is cancelled when the client leaves at that stage.
fn is_cut(method: &Method, stage: impl FnOnce(&Visit)) -> bool {
    let (visit, _) = visit(method);
    let (trigger, work) = Deferred::<()>::new();
    visit.works(work.canceller());
    stage(&visit);
    visit.client_left();
    trigger.is_cancelled()
}

#[test]
fn leaving_before_it_is_sent_cuts_anything() {
    assert!(is_cut(&Method::GET, |_| {}));
    assert!(is_cut(&Method::POST, |_| {}));
}

#[test]
fn leaving_after_it_is_sent_cuts_what_is_safe() {
    assert!(is_cut(&Method::GET, Visit::sent));
    assert!(is_cut(&Method::HEAD, Visit::sent));
    assert!(!is_cut(&Method::POST, Visit::sent));
    assert!(!is_cut(&Method::DELETE, Visit::sent));
}

#[test]
fn leaving_while_the_answer_comes_is_the_bodys_affair() {
    assert!(!is_cut(&Method::GET, |visit| visit.answering(StatusCode::OK)));
}

#[test]
fn every_way_to_leave_is_a_499_of_its_own_kind() {
    let (unsent, metrics) = visit(&Method::POST);
    unsent.client_left();
    unsent.ended(StatusCode::OK);
    assert!(counted(&metrics, 499, "not sent"));

    let (cut, metrics) = visit(&Method::GET);
    cut.sent();
    cut.client_left();
    cut.ended(StatusCode::BAD_GATEWAY);
    assert!(counted(&metrics, 499, "cancelled"));

    let (finished, metrics) = visit(&Method::POST);
    finished.sent();
    finished.client_left();
    finished.answering(StatusCode::OK);
    finished.relayed(StatusCode::OK, Ending::Drained);
    assert!(counted(&metrics, 499, "finished"));
}

#[test]
fn whoever_leaves_once_the_answer_has_begun_has_had_its_status() {
    for (ending, outcome) in [(Ending::Cancelled, "cancelled"), (Ending::Drained, "finished")] {
        let (visit, metrics) = visit(&Method::POST);
        visit.sent();
        visit.answering(StatusCode::OK);
        visit.client_left();
        visit.relayed(StatusCode::OK, ending);
        assert!(counted(&metrics, 200, outcome));
    }
}

#[test]
fn the_end_of_its_session_cuts_a_visit_at_any_stage() {
    let (early, metrics) = visit(&Method::POST);
    let (trigger, work) = Deferred::<()>::new();
    early.works(work.canceller());
    early.sent();
    early.session_ended();
    assert!(trigger.is_cancelled() && early.has_lost_its_session());
    early.ended(StatusCode::UNAUTHORIZED);
    assert!(counted(&metrics, 401, "cancelled"));
    drop(trigger);

    let (late, metrics) = visit(&Method::GET);
    late.sent();
    late.answering(StatusCode::OK);
    late.session_ended();
    // Its body breaks off behind that, and is not counted again.
    late.relayed(StatusCode::OK, Ending::Broken);
    assert!(counted(&metrics, 200, "cancelled"));
    assert!(!metrics.render().contains("outcome=\"finished\""));
}

#[test]
fn what_the_drain_cuts_is_no_finished_503() {
    let (visit, metrics) = visit(&Method::GET);
    visit.sent();
    visit.cut_off();
    visit.ended(StatusCode::SERVICE_UNAVAILABLE);
    assert!(counted(&metrics, 503, "cancelled"));
    assert_eq!(metrics.cut.get(), 1);
}

#[test]
fn an_answer_that_the_drain_cuts_is_nobody_elses_fault() {
    for ending in [Ending::Cancelled, Ending::Broken, Ending::Drained] {
        let (visit, metrics) = visit(&Method::GET);
        visit.sent();
        visit.answering(StatusCode::OK);
        metrics.drain_ends.set(Some(now()));
        visit.relayed(StatusCode::OK, ending);
        assert!(counted(&metrics, 200, "cancelled"), "{ending:?}");
        assert_eq!(metrics.cut.get(), 1);
    }
    let (visit, metrics) = visit(&Method::GET);
    metrics.drain_ends.set(Some(now()));
    visit.answering(StatusCode::OK);
    visit.relayed(StatusCode::OK, Ending::Finished);
    assert_eq!(metrics.cut.get(), 0);
}

#[test]
fn a_visit_ends_once_and_is_then_no_longer_in_flight() {
    let (visit, metrics) = visit(&Method::GET);
    assert_eq!(metrics.in_flight.get(), 1);
    visit.ended(StatusCode::OK);
    visit.ended(StatusCode::OK);
    visit.client_left();
    assert!(counted(&metrics, 200, "finished"));
    drop(visit);
    assert_eq!(metrics.in_flight.get(), 0);
}

#[test]
fn a_visit_that_nobody_ended_is_counted() {
    let (visit, metrics) = visit(&Method::GET);
    drop(visit);
    assert!(counted(&metrics, 500, "cancelled"));
}
