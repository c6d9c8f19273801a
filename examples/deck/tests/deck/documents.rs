//! The documents say what is so: their code is the programs', their report is what the program prints,
//! the tests they name exist, and their links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{line_of, run};

#[test]
fn the_code_in_the_deck_is_the_programs() {
    let programs: Vec<String> =
        files(&root().join("examples/deck/src/bin"), "rs").iter().map(|path| read(path)).collect();
    let deck = read(&root().join("docs/deck.md"));
    let blocks: Vec<String> =
        blocks(&deck, "rust").into_iter().chain(blocks(&deck, "rs")).collect();
    assert!(blocks.len() >= 15, "the deck has {} blocks", blocks.len());
    for block in blocks {
        assert!(
            programs.iter().any(|program| program.contains(&block)),
            "no program contains this block of docs/deck.md:\n{block}"
        );
    }

    let bad = read(&root().join("examples/deck/src/bin/handle_event_bad.rs"));
    let site = format!("handle_event_bad.rs:{}:", line_of(&bad, "on(handle_event_bad)"));
    assert!(deck.contains(&site), "the watchdog's line in docs/deck.md names {site}");
}

#[test]
fn the_readme_shows_the_program_and_what_it_prints() {
    let readme = read(&root().join("README.md"));
    let program = read(&root().join("examples/deck/src/bin/readme.rs"));
    assert_eq!(blocks(&readme, "rust").first(), Some(&program));

    let ran = run(env!("CARGO_BIN_EXE_readme"));
    let printed: Vec<&str> = ran.stderr.lines().map(str::trim_end).collect();
    let shown = blocks(&readme, "text");
    let shown: Vec<&str> = shown.first().expect("README has the report").lines().collect();
    assert_eq!(shown, printed, "README's report is what the program prints");
    assert!(printed.iter().any(|line| line.contains("readme.rs:")), "it has a trail");
}

#[test]
fn the_failures_are_those_that_the_program_prints() {
    let page = read(&root().join("docs/failures.md"));
    let program = read(&root().join("examples/deck/src/bin/failures.rs"));
    assert_eq!(blocks(&page, "rust").first(), Some(&program));

    let ran = run(env!("CARGO_BIN_EXE_failures"));
    assert!(ran.status.success(), "{}", ran.stderr);
    // rustc names the thread with a number of its own.
    let printed: Vec<&str> =
        ran.stderr.lines().filter(|line| !line.starts_with("thread ")).collect();
    let texts = blocks(&page, "text");
    let shown: Vec<&str> = texts[0].lines().filter(|line| !line.starts_with("thread ")).collect();
    assert_eq!(shown, printed, "docs/failures.md shows what the program prints");
    for line in texts[1].lines() {
        let (line, meaning) = line.rsplit_once("   ").expect("a line, and what it means");
        assert!(shown.contains(&line.trim_end()), "{line} is no line of it: {meaning}");
    }
}

#[test]
fn every_document_with_code_is_compiled() {
    let compiled = read(&root().join("examples/deck/src/lib.rs"));
    let mut documents = files(&root(), "md");
    documents.extend(files(&root().join("docs"), "md"));
    for document in documents {
        let name = document.strip_prefix(root()).expect("it is below the root").display();
        if !blocks(&read(&document), "rust").is_empty() {
            assert!(compiled.contains(&format!("/{name}\"")), "{name} is not in src/lib.rs");
        }
    }
}

#[test]
fn every_fact_has_its_test_or_its_written_difference() {
    let tests = all_tests();
    let facts = facts();
    let numbers: Vec<u32> = facts.iter().map(|fact| fact.number).collect();
    assert_eq!(numbers, (1..=141).collect::<Vec<u32>>(), "every fact, once and in order");

    let mut missing = Vec::new();
    for Fact { number, names, stands, .. } in &facts {
        for name in names {
            let is_case = root().join(format!("examples/deck/compile_fail/{name}.rs")).is_file();
            if !is_case && !tests.contains(name) {
                missing.push(format!("fact {number}: there is no test {name}"));
            }
        }
        if names.is_empty() && *stands == Stands::Same {
            missing.push(format!("fact {number} has no test and no difference"));
        }
    }
    let named: BTreeSet<&String> = facts.iter().flat_map(|fact| &fact.names).collect();
    for name in tests.iter().filter(|name| name.starts_with("fact_") && !named.contains(name)) {
        missing.push(format!("{name} is not in docs/from-twisted.md"));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_count_of_the_facts_is_right() {
    let facts = facts();
    let mut sections: Vec<&str> = facts.iter().map(|fact| fact.section.as_str()).collect();
    sections.dedup();
    let row = |name: &str, facts: &[&Fact]| {
        let standing =
            |stands: Stands| facts.iter().filter(|fact| fact.stands == stands).count().to_string();
        let tested = facts.iter().filter(|fact| !fact.names.is_empty()).count();
        [
            name.to_owned(),
            facts.len().to_string(),
            standing(Stands::Same),
            standing(Stands::Differs),
            standing(Stands::Python),
            tested.to_string(),
            (facts.len() - tested).to_string(),
        ]
    };
    let mut expected: Vec<[String; 7]> = sections
        .iter()
        .map(|section| {
            let of_it: Vec<&Fact> = facts.iter().filter(|fact| fact.section == *section).collect();
            row(section, &of_it)
        })
        .collect();
    expected.push(row("**all**", &facts.iter().collect::<Vec<_>>()));

    let page = read(&root().join("docs/from-twisted.md"));
    let (_, count) = page.split_once("\n## The count\n").expect("the page ends with the count");
    let rows: Vec<Vec<&str>> =
        count.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells).collect();
    assert_eq!(rows, expected, "the table should read:\n{}", table(&expected));
}

/// A row is a number, a promise and its proof: tests, each a link to the file it is in.
#[test]
fn every_promise_of_the_contract_has_its_test() {
    let contract = root().join("docs/contract.md");
    let (mut last, mut rows, mut wrong) = ((0, 0), 0, Vec::new());
    for line in read(&contract).lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, proof] = cells[..] else { continue };
        let Some((section, row)) = number.split_once('.') else { continue };
        let parsed = (section.parse::<u32>(), row.parse::<u32>());
        let (Ok(section), Ok(row)) = parsed else { panic!("{number} is no number") };
        if (section, row) != (last.0, last.1 + 1) && (section, row) != (last.0 + 1, 1) {
            wrong.push(format!("{number} does not follow {}.{}", last.0, last.1));
        }
        (last, rows) = ((section, row), rows + 1);

        let links: Vec<(&str, &str)> = proof
            .split('[')
            .skip(1)
            .filter_map(|link| link.split_once(')')?.0.split_once("]("))
            .collect();
        if links.is_empty() && proof != "not there yet" {
            wrong.push(format!("{number} has no test: {proof}"));
        }
        for (name, target) in links {
            let (name, file) = (name.trim_matches('`'), contract.with_file_name(target));
            let is_there = match file.parent() {
                Some(folder) if folder.ends_with("compile_fail") => {
                    file.is_file() && file.file_stem().is_some_and(|stem| stem == name)
                }
                _ => fs::read_to_string(&file).is_ok_and(|file| tests_of(&file).contains(name)),
            };
            if !is_there {
                wrong.push(format!("{number}: {target} has no test {name} that runs"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows > 100, "the contract has {rows} rows");
}

#[test]
fn the_documentation_is_found_by_the_usual_names() {
    let sources: String =
        files(&root().join("crates"), "rs").iter().map(|path| read(path)).collect();
    for name in [
        "addCallback",
        "addErrback",
        "addBoth",
        "callback",
        "errback",
        "deferToThread",
        "gatherResults",
        "inlineCallbacks",
        "callLater",
        "spawn",
        "detach",
        "oneshot",
    ] {
        assert!(
            sources.contains(&format!("#[doc(alias = {name:?})]")),
            "nothing is found by {name}"
        );
    }
}

#[test]
fn the_readme_leads_with_async() {
    let readme = read(&root().join("README.md"));
    let blocks = blocks(&readme, "rust");
    assert!(blocks.first().expect("README has code").contains("async"));
}

#[test]
fn the_documents_say_what_becomes_of_panics_and_cycles() {
    let architecture = read(&root().join("ARCHITECTURE.md"));
    for promise in [
        "With `panic = \"abort\"` a panicking callback aborts",
        "**Cycles are found where they close.**",
    ] {
        assert!(architecture.contains(promise), "ARCHITECTURE.md does not say: {promise}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = files(&root(), "md");
    documents.extend(files(&root().join("docs"), "md"));
    for document in documents {
        let folder = document.parent().expect("a file is in a folder");
        for link in read(&document).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{} links to {target}", document.display());
        }
    }
}

/// A row of the facts in docs/from-twisted.md.
struct Fact {
    section: String,
    number: u32,
    stands: Stands,
    /// The tests and refused programs that show it.
    names: Vec<String>,
}

/// How what thence does stands to what Twisted does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stands {
    Differs,
    /// It has no meaning in Rust.
    Python,
    Same,
}

fn facts() -> Vec<Fact> {
    let page = read(&root().join("docs/from-twisted.md"));
    let (_, page) = page.split_once("\n## Facts\n").expect("the page has the facts");
    let mut section = "";
    let mut facts = Vec::new();
    for line in page.lines() {
        section = line.strip_prefix("### ").unwrap_or(section);
        let [number, _, thence, test] = cells(line)[..] else { continue };
        let Ok(number) = number.parse() else { continue };
        let stands = if thence.starts_with("**Differs.**") {
            Stands::Differs
        } else if thence.starts_with("**(Py)**") {
            Stands::Python
        } else {
            Stands::Same
        };
        let names = test.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        facts.push(Fact { section: section.to_owned(), number, stands, names });
    }
    facts
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

fn table(rows: &[[String; 7]]) -> String {
    rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect()
}

/// The tests of core and of the reactor.
fn all_tests() -> BTreeSet<String> {
    ["crates/core/tests", "crates/reactor/tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .flat_map(|file| test_names(&read(&file)))
        .collect()
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace is there")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder that end in `extension`, those below its folders too, save at the root.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && folder != root() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found
}

/// The fenced blocks whose language is exactly `language`.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if fence == language {
            found.push(block.join("\n") + "\n");
        }
    }
    found
}

/// The functions of `source`, save those that are tests and ignored.
fn test_names(source: &str) -> BTreeSet<String> {
    let mut ignored = false;
    let mut names = BTreeSet::new();
    for line in source.lines().map(str::trim_start) {
        ignored |= line.starts_with("#[ignore");
        let Some(name) = line.strip_prefix("fn ") else { continue };
        if !std::mem::take(&mut ignored) {
            names.insert(name.split(['(', '<']).next().unwrap_or_default().to_owned());
        }
    }
    names
}

/// The tests of `source` that run. What every driver must do stands in a list.
fn tests_of(source: &str) -> BTreeSet<String> {
    let listed = source.split_once("\non_every_driver! {").map_or("", |(_, list)| list);
    let listed = listed.lines().skip(1).map_while(|line| line.strip_suffix(','));
    let mut names: BTreeSet<String> = listed.map(|name| name.trim().to_owned()).collect();
    let mut marks = Vec::new();
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            marks.push(line);
            continue;
        }
        let marks = std::mem::take(&mut marks);
        let is_test =
            marks.contains(&"#[test]") && !marks.iter().any(|mark| mark.contains("ignore"));
        if let Some(name) = line.strip_prefix("fn ")
            && is_test
        {
            names.insert(name.split(['(', '<']).next().unwrap_or_default().to_owned());
        }
    }
    names
}
