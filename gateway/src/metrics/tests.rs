use super::*;

#[test]
fn one_failure_of_a_kind_is_said_a_second_and_how_many_were_not() {
    let world = thence::driver::manual::Manual::new();
    let _reactor = thence::Reactor::builder().driver(world.clone()).build().unwrap();
    let metrics = Metrics::default();
    let ask = |kind| metrics.failure_is_said(kind);
    assert_eq!(ask(Refusal::UpstreamRefused), Some(0));
    assert_eq!((ask(Refusal::UpstreamRefused), ask(Refusal::UpstreamRefused)), (None, None));
    assert_eq!(ask(Refusal::StoreDown), Some(0), "another kind");
    world.advance(SAY_EVERY);
    assert_eq!(ask(Refusal::UpstreamRefused), Some(2));
}

#[test]
fn requests_are_counted_by_code_and_outcome() {
    let metrics = Metrics::default();
    metrics.request(200, Outcome::Finished, Duration::from_millis(3));
    metrics.request(200, Outcome::Finished, Duration::from_millis(3));
    metrics.request(499, Outcome::NotSent, Duration::from_millis(3));
    let page = metrics.render();
    for line in [
        r#"thence_gate_requests_total{route="/",code="200",outcome="finished"} 2"#,
        r#"thence_gate_requests_total{route="/",code="499",outcome="not sent"} 1"#,
        "thence_gate_request_seconds_count 3",
        "thence_gate_request_seconds_sum 0.009",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} not in\n{page}");
    }
}

#[test]
fn buckets_include_their_bound_and_those_below() {
    let histogram = Histogram::default();
    for micros in [500, 501, 40_000_000] {
        histogram.observe(Duration::from_micros(micros));
    }
    let mut page = Page { family: "h", ..Page::default() };
    histogram.render(&mut page);
    let lines: Vec<_> = page.text.lines().collect();
    assert_eq!(lines[..2], [r#"h_bucket{le="0.0005"} 1"#, r#"h_bucket{le="0.001"} 2"#]);
    assert_eq!(lines[13..15], [r#"h_bucket{le="30"} 2"#, r#"h_bucket{le="+Inf"} 3"#]);
}

#[test]
fn a_look_up_that_asked_nobody_has_no_duration() {
    let metrics = Metrics::default();
    metrics.lookup(Lookup::Malformed, None);
    metrics.lookup(Lookup::Hit, Some(Duration::from_micros(80)));
    let page = metrics.render();
    assert!(page.contains(r#"lookups_total{result="malformed"} 1"#));
    assert!(page.contains("thence_gate_session_lookup_seconds_count 1"));
}

#[test]
fn every_family_is_described_once_and_every_line_has_a_family() {
    let metrics = Metrics::default();
    metrics.upstream_failure(Refusal::UpstreamSlow);
    metrics.retry();
    let page = metrics.render();
    let mut seen = std::collections::BTreeSet::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(seen.insert(family), "{family} twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(family), "{line} in {family}");
            let value = line.rsplit(' ').next().unwrap();
            value.parse::<f64>().expect(line);
        }
    }
    assert_eq!(seen.len(), 14);
}
