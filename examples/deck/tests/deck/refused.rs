//! What the slides get wrong and rustc refuses: each file of `compile_fail/` is compiled, and has to fail
//! on its marked line with its marked code. `accepted.rs` is the control and has to compile.
//!
//! A newcomer has to understand the refusal without the documentation, so each case names the sentence of
//! ours that rustc shows (`// says: ..`), or what rustc's own words are about (`// plain: ..`). Where rustc
//! has no hook for a sentence, it quotes a line of ours, and the comment at the end of that line speaks.
//!
//! All of them are checked by one cargo, as programs of one package that this test writes; its lock file
//! is the workspace's, so nothing is resolved or fetched anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn rustc_refuses_what_the_slides_got_wrong() {
    let cases = cases();
    let refused = check(&cases);

    let mut wrong = String::new();
    for case in &cases {
        let said = refused.get(&case.name).map(Vec::as_slice).unwrap_or_default();
        let met = match &case.expected {
            None => said.is_empty(),
            Some((line, code)) => matches!(said, [error] if error.line == *line
                && error.code == *code
                && case.says.as_ref().is_none_or(|says| error.text.contains(says))),
        };
        if !met {
            writeln!(wrong, "{}: expected {:?}, rustc said {said:#?}", case.name, case.expected)
                .expect("a string takes anything");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[derive(Debug)]
struct Case {
    name: String,
    path: PathBuf,
    /// The line that is marked `//~ CODE`, or stands above a `//~^ CODE`, and the code; none for what has to
    /// compile.
    expected: Option<(u64, String)>,
    /// The sentence of ours that has to be there, from a line `// says: ..`.
    says: Option<String>,
    is_plain: bool,
}

#[derive(Debug)]
struct Refusal {
    line: u64,
    code: String,
    text: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compile_fail");
    let mut cases: Vec<Case> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let source = fs::read_to_string(&path).expect("a case is a text file");
            let marked = |(index, line): (usize, &str)| {
                let (_, code) = line.split_once("//~")?;
                Some(match code.strip_prefix('^') {
                    Some(code) => (index as u64, code.trim().to_owned()),
                    None => (index as u64 + 1, code.trim().to_owned()),
                })
            };
            Case {
                name: path.file_stem().expect("a file has a name").to_string_lossy().into_owned(),
                expected: source.lines().enumerate().find_map(marked),
                says: source
                    .lines()
                    .find_map(|line| Some(line.strip_prefix("// says: ")?.to_owned())),
                is_plain: source.lines().any(|line| line.starts_with("// plain: ")),
                path,
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    for case in &cases {
        assert_eq!(case.name == "accepted", case.expected.is_none(), "{} has a mark", case.name);
        assert!(
            case.expected.is_none() || case.says.is_some() != case.is_plain,
            "{} says what is ours, or that it is plain Rust",
            case.name
        );
    }
    cases
}

/// The errors of each case, as rustc gave them.
fn check(cases: &[Case]) -> BTreeMap<String, Vec<Refusal>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    fs::create_dir_all(&package).expect("cargo's folder for tests can be written");

    let mut manifest = format!(
        "[workspace]\n\n[package]\nname = \"compile-fail\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nthence = {{ path = {:?}, default-features = false }}\n",
        root.join("crates/thence").canonicalize().expect("thence is there")
    );
    for case in cases {
        write!(manifest, "\n[[bin]]\nname = {:?}\npath = {:?}\n", case.name, case.path)
            .expect("a string takes anything");
    }
    fs::write(package.join("Cargo.toml"), manifest)
        .expect("cargo's folder for tests can be written");
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).expect("there is a lock file");

    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--bins", "--message-format=json"])
        .arg("--target-dir")
        .arg(package.join("target"))
        .current_dir(&package)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");

    let mut refused: BTreeMap<String, Vec<Refusal>> = BTreeMap::new();
    let mut checked = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let target = entry["target"]["name"].as_str().unwrap_or_default();
        if !cases.iter().any(|case| case.name == target) {
            continue;
        }
        checked += 1;
        let message = &entry["message"];
        if message["level"] == "error"
            && let Some(code) = message["code"]["code"].as_str()
        {
            refused.entry(target.to_owned()).or_default().push(Refusal {
                line: primary_line(message),
                code: code.to_owned(),
                text: message["rendered"].as_str().unwrap_or_default().to_owned(),
            });
        }
    }
    // A cargo that got nowhere would look like rustc accepting everything.
    assert!(checked >= cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
    refused
}

fn primary_line(message: &Value) -> u64 {
    let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    spans
        .iter()
        .find(|span| span["is_primary"] == true)
        .and_then(|span| span["line_start"].as_u64())
        .unwrap_or_default()
}
