//! Each row of Kafka Streams' semantics is named by a test or a scenario, or README says why not.

use crate::rows::{ROWS, SCENARIOS};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const README: &str = include_str!("../../README.md");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn all() -> BTreeSet<String> {
    let ids = |(letter, runs): &(&str, &[(u32, u32)])| -> Vec<String> {
        runs.iter().flat_map(|(from, to)| (*from..=*to).map(|n| format!("{letter}-{n}"))).collect()
    };
    ROWS.iter().flat_map(ids).collect()
}

/// The ids in a text: `D-61` in prose, `d61` or `d81_to_d84` in names.
fn ids(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut last: Option<(char, u32)> = None;
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        let mut letters = word.chars();
        let letter = letters.next().unwrap_or(' ').to_ascii_uppercase();
        let rest = letters.as_str();
        let upper = word.starts_with(char::is_uppercase);
        let digits = if upper { rest.strip_prefix('-').unwrap_or("") } else { rest };
        match digits.parse::<u32>() {
            Ok(number) if ROWS.iter().any(|(l, _)| l.starts_with(letter)) => {
                let first = last.filter(|(l, n)| *l == letter && *n < number).map_or(number, |(_, n)| n);
                found.extend((first..=number).map(|n| format!("{letter}-{n}")));
                last = Some((letter, number));
            }
            _ if word == "to" => continue,
            _ => last = None,
        }
        let next = text[word.as_ptr() as usize - text.as_ptr() as usize + word.len()..].trim_start_matches('_');
        if !next.trim_start().starts_with("to") {
            last = None;
        }
    }
    found
}

/// Ids in the doc, name and body of each test of a source file.
fn tested(source: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = BTreeSet::new();
    for at in (0..lines.len()).filter(|at| lines[*at].trim() == "#[test]") {
        let indent = &lines[at][..lines[at].len() - lines[at].trim_start().len()];
        let doc = |line: &&str| line.trim().starts_with("//") || line.trim().starts_with("#[");
        let from = at - lines[..at].iter().rev().take_while(|l| doc(l)).count();
        let ends = |line: &str| line.strip_prefix(indent) == Some("}");
        let to = lines[at..].iter().position(|l| ends(l)).map_or(lines.len(), |n| at + n);
        for line in &lines[from..to] {
            let name = line.trim().strip_prefix("fn ").or_else(|| line.trim().starts_with("//").then_some(line.trim()));
            found.extend(name.map(ids).unwrap_or_default());
            found.extend(line.split_once("// ").map(|(_, comment)| ids(comment)).unwrap_or_default());
        }
    }
    found
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The first cells of README's compatibility table.
fn listed(readme: &str) -> BTreeSet<String> {
    let (_, rest) = readme.split_once("<!-- compatibility -->\n").expect("the table's start");
    let (table, _) = rest.split_once("<!-- /compatibility -->").expect("the table's end");
    table.lines().filter_map(|line| line.split('|').nth(1)).flat_map(ids).collect()
}

/// What is wrong with rows that are named here, tested there and listed in the README.
fn wrong(rows: &BTreeSet<String>, named: &BTreeSet<String>, listed: &BTreeSet<String>) -> Vec<String> {
    let missing = rows.iter().filter(|id| !named.contains(*id) && !listed.contains(*id));
    let unknown = named.union(listed).filter(|id| !rows.contains(*id));
    let missing = missing.map(|id| format!("{id} has neither a test nor a line in README's compatibility table"));
    missing.chain(unknown.map(|id| format!("{id} is no row"))).collect()
}

fn named() -> BTreeSet<String> {
    let mut files = Vec::new();
    for directory in ["src", "tests"] {
        sources(&root().join(directory), &mut files);
    }
    files.retain(|file| !file.ends_with("semantics/compatibility.rs"));
    let in_tests = files.iter().flat_map(|file| tested(&fs::read_to_string(file).unwrap()));
    in_tests.chain(SCENARIOS.iter().map(|(id, _)| (*id).to_owned())).collect()
}

#[test]
fn each_row_has_a_test_or_a_reason() {
    let wrong = wrong(&all(), &named(), &listed(README));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scenarios_that_stand_for_rows_are_there() {
    let oracle = root().join("tests/oracle");
    for (id, scenarios) in SCENARIOS {
        assert!(!scenarios.is_empty(), "{id}");
        for name in *scenarios {
            for file in [format!("scenarios/{name}.json"), format!("expected/{name}.expected.json")] {
                assert!(oracle.join(&file).is_file(), "{id}: {file} is not there");
            }
        }
    }
}

#[test]
fn a_missing_and_an_unknown_row_are_caught() {
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let found = wrong(&set(&["D-1", "D-2", "P-3"]), &set(&["D-1", "D-999"]), &set(&["P-3", "P-77"]));
    assert_eq!(found.len(), 3, "{found:?}");
    for text in ["D-2 has neither", "D-999 is no row", "P-77 is no row"] {
        assert!(found.iter().any(|line| line.starts_with(text)), "{text}: {found:?}");
    }
    let mut rows = all();
    assert_eq!(rows.len(), 192);
    rows.insert("D-178".into());
    assert_eq!(wrong(&rows, &named(), &listed(README)).len(), 1);
}

#[test]
fn ids_are_found_where_tests_name_them() {
    let source = "//! D-1\nfn helper_d2() {}\n/// About D-3.\n#[test]\nfn d4_and_more_p5() {\n    call(); // D-6\n    \
                  let x = \"D-7\";\n}\n/// D-8\nfn none() {}\n#[test]\nfn d10_to_d12_pair() {\n}\n";
    let found = tested(source).into_iter().collect::<Vec<_>>();
    assert_eq!(found, ["D-10", "D-11", "D-12", "D-3", "D-4", "D-6", "P-5"]);
    let table = "<!-- compatibility -->\n| D-1, P-2 to P-4 | D-9 |\n<!-- /compatibility -->";
    assert_eq!(listed(table).into_iter().collect::<Vec<_>>(), ["D-1", "P-2", "P-3", "P-4"]);
}
