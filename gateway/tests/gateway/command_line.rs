//! The program as a shell sees it: what it prints and how it ends.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

use crate::common::{Ran, gate};

fn session(dir: &tempfile::TempDir, words: &str) -> Ran {
    let store = dir.path().join("sessions.db");
    gate(
        ["session"].into_iter().chain(words.split(' ')).chain(["--store", store.to_str().unwrap()]),
    )
}

/// A failure says what was wrong, what was expected and what to do, and nothing on standard output.
fn explained(ran: &Ran, code: i32) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert_eq!(ran.out, "", "{ran:?}");
    let said = &ran.err;
    assert!(said.contains("expected") && said.contains("to do"), "{said}");
}

#[test]
fn a_session_is_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = session(&dir, "create 42").out;
    assert!(cookie.starts_with("sessionId=") && cookie.trim_end().len() == 65, "{cookie}");
    let listed = session(&dir, "list").out;
    let row = listed.lines().nth(1).unwrap();
    assert!(row.contains(" 42 ") && row.contains("live, ends in 59m 59s"), "{listed}");
    let secret = cookie.trim_end().strip_prefix("sessionId=").unwrap();
    assert!(!listed.contains(secret) && !listed.contains(secret.split('.').next().unwrap()));
    let id = row.split(' ').next().unwrap();
    assert_eq!(session(&dir, &format!("revoke {id}")).code, 0);
    assert!(session(&dir, "list").out.contains("revoked 0s ago"));
}

#[test]
fn a_session_is_revoked_by_its_cookie() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = session(&dir, "create 42").out;
    assert_eq!(session(&dir, &format!("revoke {}", cookie.trim_end())).code, 0);
    assert!(session(&dir, "list --account 42").out.contains("revoked"));
}

#[test]
fn an_account_is_signed_out_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        session(&dir, "create 42");
    }
    session(&dir, "create 43");
    assert_eq!(session(&dir, "revoke --account 42").out, "revoked 3 sessions of account 42\n");
    assert_eq!(session(&dir, "revoke --account 42").out, "revoked 0 sessions of account 42\n");
    assert!(session(&dir, "list --account 43").out.contains("live"));
}

#[test]
fn every_format_prints_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let curl = session(&dir, "create 42 --format curl").out;
    assert!(curl.starts_with("curl -i -b sessionId="), "{curl}");
    assert_eq!(session(&dir, "create 42 --format id").out.trim_end().len(), 24);
    let json = session(&dir, "create 42 --ttl 60s --idle off --format json").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["account"], "42");
    assert_eq!(json["idle_seconds"], serde_json::Value::Null);
    assert!(json["set_cookie"].as_str().unwrap().ends_with("Max-Age=60"));
}

#[test]
fn wrong_usage_ends_with_64() {
    for words in ["--tow :9000", "--to here", "session", "session create", "--metrics 0.0.0.0:1"] {
        let ran = gate(words.split(' '));
        assert_eq!(ran.code, 64, "{words}: {ran:?}");
        assert!(ran.err.contains("--help"), "{ran:?}");
    }
    assert_eq!(gate(["--help"]).code, 0);
    assert_eq!(gate(["--version"]).out, "thence-gate 0.1.0\n");
}

#[test]
fn an_unreadable_store_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    fs::write(&path, [b'x'; 5000]).unwrap();
    explained(&session(&dir, "list"), 1);
    explained(&gate(["--store", path.to_str().unwrap(), "--to", ":9"]), 1);
    explained(&gate(["session", "list", "--store", "/no/such/folder/sessions.db"]), 1);
}

#[test]
fn a_key_that_others_can_read_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    session(&dir, "create 42");
    let key = dir.path().join("sessions.db.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = session(&dir, "create 42");
    explained(&ran, 1);
    assert!(ran.err.contains("chmod 600"), "{ran:?}");
}

#[test]
fn revoking_what_is_not_there_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    explained(&session(&dir, "revoke 0123456789abcdef01234567"), 1);
}

#[test]
fn a_port_in_use_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("sessions.db");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, upstream) = (taken.local_addr().unwrap(), taken.local_addr().unwrap());
    let flags = ["--to", &upstream.to_string(), "--listen", &port.to_string(), "--metrics", ":0"];
    let ran = gate(flags.into_iter().chain(["--store", store.to_str().unwrap()]));
    explained(&ran, 1);
    assert!(ran.err.contains(&port.to_string()) && ran.err.contains("--listen"), "{ran:?}");
}

#[test]
fn the_gateways_own_address_is_no_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("sessions.db");
    let free = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().to_string();
    let flags = ["--to", &free, "--listen", &free, "--metrics", ":0", "--store"];
    let ran = gate(flags.into_iter().chain([store.to_str().unwrap()]));
    explained(&ran, 1);
    assert!(ran.err.contains(&free) && ran.err.contains("own address"), "{ran:?}");
}
