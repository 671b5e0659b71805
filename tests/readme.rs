//! The README's table of settings is the one the program goes by.

use millstream::config::SETTINGS;

const README: &str = include_str!("../README.md");

fn table() -> String {
    let row = |s: &millstream::config::Setting| {
        let default = if s.default.is_empty() { String::new() } else { format!("`{}`", s.default) };
        format!("| `{}` | {default} | {} |\n", s.name, s.doc)
    };
    let rows: String = SETTINGS.iter().map(row).collect();
    format!("| setting | default | what it does |\n|---|---|---|\n{rows}")
}

#[test]
fn the_settings_in_the_readme_are_those_of_the_program() {
    let (_, rest) = README.split_once("<!-- settings -->\n").expect("the table's start");
    let (found, _) = rest.split_once("<!-- /settings -->").expect("the table's end");
    assert!(found == table(), "put this between the marks in README.md:\n{}", table());
}

#[test]
fn the_readme_sends_people_to_files_that_are_there() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = links.filter(|l| !l.starts_with("http") && !l.starts_with('#')).collect();
    assert!(files.len() >= 3, "links found: {files:?}");
    for file in files {
        assert!(root.join(file).exists(), "{file} is not there");
    }
}
