//! What README, image, chart and Makefile say of settings, files and tests is what there is.

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

#[test]
fn the_image_and_the_chart_name_settings_that_there_are() {
    let template = include_str!("../helm/millstream/templates/configmap.yaml");
    let values = include_str!("../helm/millstream/values.yaml");
    let quoted =
        template.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =").map(|(name, _)| name));
    let (_, config) = values.split_once("\nconfig:\n").expect("the chart's settings");
    let set = config.lines().map_while(|line| line.strip_prefix("  ")?.split_once(':').map(|(name, _)| name));
    let statefulset = include_str!("../helm/millstream/templates/statefulset.yaml");
    let variables: Vec<_> = [statefulset, include_str!("../Dockerfile")]
        .iter()
        .flat_map(|text| text.split("MILLSTREAM_").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap_or_default())
        .filter(|name| !name.is_empty() && *name != "CONFIG")
        .map(|name| name.to_lowercase().replace('_', "."))
        .collect();
    let names: Vec<&str> = quoted.chain(set).chain(variables.iter().map(String::as_str)).collect();
    assert!(names.len() >= 9, "names found: {names:?}");
    for name in names {
        assert!(SETTINGS.iter().any(|s| s.name == name), "`{name}` is no setting");
    }
}

/// Tests that need the full build, in these manifests.
fn full_tests(manifests: &[&str]) -> Vec<String> {
    let tests =
        manifests.iter().flat_map(|manifest| manifest.split("\n[").filter(|table| table.starts_with("[test]]")));
    let needy = tests.filter(|table| table.contains("required-features"));
    let name = |table: &str| Some(table.split_once("name = \"")?.1.split_once('"')?.0.to_owned());
    needy.filter_map(name).collect()
}

#[test]
fn make_test_runs_each_test_that_needs_the_full_build() {
    let makefile = include_str!("../Makefile");
    let tests = full_tests(&[include_str!("../Cargo.toml"), include_str!("../topologies/Cargo.toml")]);
    assert_eq!(tests, ["kafka", "worker"]);
    let (_, recipe) = makefile.split_once("\ntest-full:").expect("the step is there");
    let recipe = recipe.split_once("\n\n").expect("its end").0;
    for name in tests {
        assert!(recipe.contains(&format!("--test {name}")), "test-full leaves {name} out");
    }
}
