//! What a reviewer would otherwise have to look for by hand: the arrows between crates, the README's commands,
//! links and settings, the size of files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// For one platform, since a crate may depend on others elsewhere (in a browser, on Windows).
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args("metadata --format-version 1 --locked --filter-platform x86_64-unknown-linux-gnu".split(' '))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What each package of the workspace depends on itself, but for what only its tests or its build need.
fn direct(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members = metadata["workspace_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .filter(|package| members.contains(&package["id"]))
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let names = dependencies.filter(|dependency| dependency["kind"].is_null());
            (text(package, "name").to_owned(), names.map(|one| text(one, "name").to_owned()).collect())
        })
        .collect()
}

/// Every package that ends up in a binary that uses `name`.
fn closure(metadata: &Value, name: &str) -> BTreeSet<String> {
    let nodes: BTreeMap<_, _> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (text(node, "id"), node["deps"].as_array().unwrap()))
        .collect();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeMap<_, _> = packages.iter().map(|one| (text(one, "id"), text(one, "name"))).collect();
    let normal = |dependency: &Value| {
        dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
    };
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&str> = names.iter().filter(|(_, one)| **one == name).map(|(id, _)| *id).collect();
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            waiting.extend(nodes[id].iter().filter(|one| normal(one)).map(|one| text(one, "pkg")));
        }
    }
    found.into_iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn crates_of_the_workspace_point_one_way() {
    const SHARED: [&str; 4] = ["simurgh-backplane", "simurgh-env", "simurgh-protocol", "simurgh-service"];
    let may: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("simurgh-protocol", &[][..]),
        ("simurgh-env", &["simurgh-protocol"][..]),
        ("simurgh-backplane", &["simurgh-env", "simurgh-protocol"][..]),
        ("simurgh-service", &["simurgh-backplane", "simurgh-env", "simurgh-protocol"][..]),
        ("simurgh-rpc", &[][..]),
        (
            "simurgh-gateway",
            &["simurgh-backplane", "simurgh-env", "simurgh-protocol", "simurgh-rpc", "simurgh-service"][..],
        ),
        ("simurgh-worker", &SHARED[..]),
    ]);
    let direct = direct(&metadata());
    for (name, may) in may {
        let ours = direct[name].iter().filter(|one| one.starts_with("simurgh-"));
        for one in ours {
            assert!(may.contains(&one.as_str()), "{name} must not depend on {one}");
        }
    }
}

#[test]
fn each_outside_world_has_one_door() {
    // A name's beginning, and who may depend on it.
    let doors: [(&str, &[&str]); 14] = [
        ("async-nats", &["simurgh-backplane"]),
        ("aws-", &["simurgh-worker"]),
        ("hyper", &["simurgh-gateway", "simurgh-service"]),
        ("axum", &["simurgh-gateway", "simurgh-service"]),
        ("tower", &["simurgh-gateway", "simurgh-service"]),
        ("tonic", &["simurgh-gateway", "simurgh-rpc"]),
        ("prost", &["simurgh-gateway", "simurgh-rpc"]),
        ("tungstenite", &["simurgh-gateway"]),
        ("tokio-tungstenite", &["simurgh-gateway"]),
        ("tokio-rustls", &["simurgh-gateway", "simurgh-service"]),
        ("prometheus", &["simurgh-service"]),
        ("opentelemetry", &["simurgh-backplane", "simurgh-service"]),
        ("tracing-opentelemetry", &["simurgh-backplane", "simurgh-service"]),
        ("dynoxide", &["simurgh-localstack"]),
    ];
    for (name, dependencies) in direct(&metadata()) {
        for (beginning, may) in doors {
            let uses = dependencies.iter().find(|one| one.starts_with(beginning));
            // The tests stand outside and look at everything.
            let allowed = name == "simurgh-tests" || may.contains(&name.as_str());
            assert!(uses.is_none() || allowed, "{name} must not depend on {uses:?}");
        }
    }
}

#[test]
fn the_protocol_is_pure() {
    let closure = closure(&metadata(), "simurgh-protocol");
    assert!(closure.contains("serde_json"), "{closure:?}");
    for impure in ["tokio", "mio", "hyper", "axum", "async-nats", "rand", "tracing", "futures-util"] {
        assert!(!closure.contains(impure), "simurgh-protocol must not bring {impure} in");
    }
}

/// Every file below `folder`, but for what is built, fetched or written by a run.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    const NOT_OURS: [&str; 9] = [
        "target",
        ".git",
        ".tools",
        ".artefacts",
        ".releases",
        ".simurgh",
        "node_modules",
        "dist",
        "__pycache__",
    ];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if !NOT_OURS.contains(&name.as_str()) {
                files(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_file_is_short_enough_to_read() {
    const LINES: usize = 400;
    let mut all = Vec::new();
    files(&root(), &mut all);
    let read_by_people = |path: &&PathBuf| {
        let extension = path.extension().map(|one| one.to_string_lossy().into_owned()).unwrap_or_default();
        ["rs", "mjs", "js", "ts", "tsx", "py", "sh", "md", "toml", "conf", "yml", "yaml", "html", "css", ""]
            .contains(&extension.as_str())
    };
    let long: Vec<_> = all
        .iter()
        .filter(read_by_people)
        // Phoenix' own client, as its package has it.
        .filter(|path| !path.ends_with("gateway/page/vendor/phoenix.mjs"))
        .filter_map(|path| fs::read_to_string(path).ok().map(|text| (path, text.lines().count())))
        .filter(|(_, lines)| *lines >= LINES)
        .collect();
    assert!(all.len() > 50, "the walk found too little: {all:?}");
    assert!(long.is_empty(), "{LINES} lines or more: {long:?}");
}

#[test]
fn nothing_is_left_to_chance() {
    let mut all = Vec::new();
    for folder in ["gateway", "worker", "shared", "localstack"] {
        files(&root().join(folder), &mut all);
    }
    let mut selects = 0;
    for path in all.iter().filter(|path| path.extension().is_some_and(|one| one == "rs")) {
        let source = fs::read_to_string(path).unwrap();
        for (at, _) in source.match_indices("select! {") {
            let first = source[at..].lines().nth(1).unwrap_or_default().trim();
            assert_eq!(first, "biased;", "a select! in {path:?} draws lots");
            selects += 1;
        }
        // The SDK's own type of an item's attributes, which is never iterated in an order that matters.
        let foreign = path.ends_with("worker/src/store/dynamo/codec.rs");
        assert!(foreign || !source.contains("HashMap"), "{path:?} uses a map whose order is chance");
    }
    assert!(selects > 20, "{selects}");
}

#[test]
fn only_the_local_stack_lets_the_chat_page_sign_tokens() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let mut uses: Vec<_> = all
        .iter()
        .filter(|path| path.extension().is_some_and(|one| one == "rs") && !path.ends_with("tidy.rs"))
        .filter(|path| fs::read_to_string(path).unwrap().contains("with_page_signing"))
        .map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned())
        .collect();
    uses.sort_unstable();
    // The method, what tests it, and its one caller: no gateway program.
    assert_eq!(uses, ["gateway/src/gateway.rs", "gateway/src/testing.rs", "localstack/src/stack.rs"]);
}

/// The lines of the README's shell blocks, without prompts and comments.
fn commands(readme: &str) -> Vec<String> {
    let blocks = readme.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default());
    blocks
        .flat_map(str::lines)
        .map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn the_readmes_commands_exist() {
    let readme = read("README.md");
    let commands = commands(&readme);
    assert!(commands.iter().any(|one| one == "cargo run --release"), "{commands:?}");
    assert!(commands.iter().any(|one| one == "tests/run"), "{commands:?}");

    let metadata = metadata();
    let default = metadata["workspace_default_members"][0].as_str().unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|one| text(one, "id") == default).unwrap();
    assert_eq!(text(package, "default_run"), "simurgh", "`cargo run` must start the local stack");

    for command in &commands {
        // Variables come before a command.
        let words: Vec<_> = command.split_whitespace().skip_while(|word| word.contains('=')).collect();
        match words[0] {
            "cargo" | "git" | "cd" | "node" | "npm" | "curl" => {}
            program => {
                let path = root().join(program);
                assert!(path.is_file() || program.starts_with("target/"), "{command}: no such file");
            }
        }
        let arguments = match (words[0], words.iter().position(|word| *word == "--")) {
            ("cargo", Some(at)) if words[1] == "run" => &words[at + 1..],
            (program, _) if program.ends_with("/simurgh") => &words[1..],
            _ => continue,
        };
        let parsed = simurgh_service::config::parse_from::<simurgh_localstack::Config>(
            std::iter::once("simurgh").chain(arguments.iter().copied()),
        );
        assert!(parsed.is_ok(), "{command}: {:?}", parsed.err());
    }
}

#[test]
fn the_documents_links_lead_somewhere() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/clients.md",
        "docs/contract.md",
        "docs/performance.md",
        "docs/metrics.md",
        "docs/operations.md",
        "docs/security.md",
        "infra/README.md",
        "examples/react/README.md",
    ] {
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in read(document).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            let outside = target.is_empty() || target.contains("://");
            assert!(outside || folder.join(target).exists(), "{document}: {target} does not exist");
        }
    }
}

/// The `SIMURGH_…` names in a text.
fn settings(text: &str) -> BTreeSet<&str> {
    let name = |byte: char| !(byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == '_');
    text.split(name)
        .filter(|word| word.starts_with("SIMURGH_") && !word.starts_with("SIMURGH_TEST_") && word.len() > 8)
        .collect()
}

#[test]
fn the_readme_lists_exactly_the_settings_that_exist() {
    let helps = [
        simurgh_service::config::help::<simurgh_gateway::config::Config>(),
        simurgh_service::config::help::<simurgh_worker::config::Config>(),
        simurgh_service::config::help::<simurgh_localstack::Config>(),
    ];
    let exist: BTreeSet<_> = helps.iter().flat_map(|help| settings(help)).collect();
    let readme = read("README.md");
    assert_eq!(settings(&readme), exist, "README.md against the programs' --help");
}
