//! Findings for people and for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::{Finding, Verdict};

/// A few lines for each finding, and one that counts them.
pub fn text(findings: &[Finding]) -> String {
    let mut page = format!("thence-gate {} doctor\n", env!("CARGO_PKG_VERSION"));
    let widest = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let margin = " ".repeat(4 + 2 + widest + 2);
    for Finding { check, verdict, found, expected, advice } in findings {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{:4}  {check:widest$}  {found}", verdict.word());
        let _ = writeln!(page, "{margin}expected: {expected}");
        if let Some(advice) = advice {
            let _ = writeln!(page, "{margin}to do:    {advice}");
        }
    }
    let [ok, note, bad] =
        [Verdict::Ok, Verdict::Note, Verdict::Bad].map(|one| count(findings, one));
    let _ = writeln!(page, "{ok} ok, {note} to note, {bad} bad");
    page
}

/// The same as one JSON object.
pub fn json(findings: &[Finding]) -> String {
    let checks: Vec<_> = findings
        .iter()
        .map(|Finding { check, verdict, found, expected, advice }| {
            json!({
                "check": check,
                "verdict": verdict.word(),
                "found": found,
                "expected": expected,
                "to_do": advice,
            })
        })
        .collect();
    let page = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ok": count(findings, Verdict::Bad) == 0,
        "checks": checks,
    });
    format!("{page}\n")
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> [Finding; 2] {
        [
            Finding::ok("clock", "1 ns", "1 ms or finer"),
            Finding::of(Verdict::Bad, "open files", "12", "11,088", "raise it"),
        ]
    }

    #[test]
    fn people_read_what_was_found_expected_and_to_be_done() {
        let page = text(&findings());
        let lines: Vec<_> = page.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "ok    clock       1 ns",
                "                  expected: 1 ms or finer",
                "bad   open files  12",
                "                  expected: 11,088",
                "                  to do:    raise it",
                "1 ok, 0 to note, 1 bad",
            ]
        );
    }

    #[test]
    fn programs_read_the_same() {
        let page: serde_json::Value = serde_json::from_str(&json(&findings())).unwrap();
        assert_eq!(page["ok"], false);
        assert_eq!(page["checks"][0]["to_do"], serde_json::Value::Null);
        assert_eq!(page["checks"][1]["verdict"], "bad");
        assert_eq!(page["checks"][1]["to_do"], "raise it");
    }
}
