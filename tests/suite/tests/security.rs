//! The threat table (`docs/security.md`): each row names tests, and they are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The functions of `folder` that are tests.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            if path.file_name().is_some_and(|name| name != "target" && name != "node_modules") {
                tests(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in source.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    marked = true;
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
                    found.insert(rest.split('(').next().unwrap_or_default().to_owned());
                    marked = false;
                }
            }
        }
    }
}

/// The cells of each row but the head's.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    lines.skip(1).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn each_threat_names_tests_that_exist() {
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut exist = BTreeSet::new();
    for folder in ["gateway", "worker", "shared", "localstack", "tests"] {
        tests(&root().join(folder), &mut exist);
    }
    assert!(exist.len() > 300, "the walk found too little: {}", exist.len());
    let rows = rows(&document);
    assert!(rows.len() >= 20, "{rows:?}");
    for row in rows {
        let [threat, answer, shown_by] = row[..] else { panic!("a row has three cells: {row:?}") };
        assert!(!answer.is_empty(), "{threat}");
        let names: Vec<_> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{threat}: no test");
        for name in names {
            assert!(exist.contains(name), "{threat}: there is no test {name}");
        }
    }
}
