use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use serde_json::Value;

use super::PATH;
use crate::testing::{self, Heard, Served, exchange};

/// The document as it is checked in, for readers and for diffs.
fn snapshot() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json")
}

async fn ask(served: &Served, line: &str, token: &str) -> Heard {
    let body = if line.starts_with("PATCH") { "content-length: 2\n\n{}" } else { "\n" };
    let head = format!("{line} HTTP/1.1\nhost: x\nauthorization: Bearer {token}\n{body}");
    exchange(&mut served.connect().await, &head).await
}

async fn document(served: &Served) -> Value {
    let heard = exchange(&mut served.connect().await, &format!("GET {PATH} HTTP/1.1\nhost: x\n\n")).await;
    assert_eq!((heard.status, heard.header("content-type")), (200, Some("application/json")));
    heard.json()
}

/// The methods of each path, in capitals.
fn described(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods =
        |item: &Value| item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    paths.map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// A path with something in each of its parameters.
fn filled(path: &str) -> String {
    path.replace("{conversation_id}", "6f9619ff-8b86-d011-b42d-00c04fc964ff")
        .replace("{user_id}", "bob")
        .replace("{message_id}", "01932f00-0000-8000-8000-000000000001")
}

#[tokio::test(start_paused = true)]
async fn the_document_is_the_one_that_is_checked_in() {
    let served = Served::new(&[]).await;
    let mut text = serde_json::to_string_pretty(&document(&served).await).unwrap();
    text.push('\n');
    if env::var_os("SIMURGH_TEST_RENEW").is_some() {
        fs::write(snapshot(), &text).unwrap();
    }
    let checked_in = fs::read_to_string(snapshot()).unwrap_or_default();
    let differs = checked_in.lines().zip(text.lines()).position(|(one, other)| one != other);
    assert!(
        checked_in == text,
        "docs/openapi.json is not what is served (line {}). Where the change is meant, renew it: \
         SIMURGH_TEST_RENEW=1 cargo test --profile ci -p simurgh-gateway --lib api::document",
        differs.map_or(checked_in.lines().count().min(text.lines().count()), |line| line) + 1
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_served_on_both_listeners_and_without_a_token() {
    let served = Served::new(&["--service-calls=internal"]).await;
    let public = document(&served).await;
    let mut internal = served.internal.connect().await.unwrap();
    let heard =
        exchange(&mut internal, &format!("GET {PATH} HTTP/1.1\nhost: x\norigin: https://a.test\n\n")).await;
    assert_eq!(heard.json(), public);
    assert_eq!(public["openapi"], "3.1.0");
    assert_eq!(heard.header("access-control-allow-origin"), Some("*"), "pages show documents, too");
}

/// The paths of the API as it is served, by what axum shows of a router: there is no other list of them.
fn routed(served: &Served) -> BTreeSet<String> {
    let shared = testing::gateway(&served.bus, &served.env, &served.subjects, &[]).shared();
    let shown = format!("{:?}", crate::api::public(shared));
    let (routes, _) = shown.split_once("fallback_router").unwrap();
    routes.split('"').filter(|part| part.starts_with('/')).map(ToOwned::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn every_route_is_described_and_everything_described_is_routed() {
    let served = Served::new(&[]).await;
    let described = described(&document(&served).await);
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), routed(&served));
    for (path, methods) in described {
        let heard = ask(&served, &format!("BREW {}", filled(&path)), "").await;
        assert_eq!(heard.status, 405, "{path}");
        let allowed = heard.header("allow").unwrap().split(',').map(|method| method.trim().to_owned());
        // Whatever can be got can be looked at without its body.
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "HEAD").collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// The calls in the contract's table, as `METHOD /path/{}`.
fn promised() -> BTreeSet<String> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract.md");
    let contract = fs::read_to_string(contract).unwrap();
    let mut calls = BTreeSet::new();
    for row in contract.lines().filter(|line| line.starts_with("| `")) {
        for call in row.split('`').skip(1).step_by(2) {
            let Some((methods, path)) = call.split_once(" /api/") else { continue };
            let path = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
            let path = path.collect::<Vec<_>>().join("/");
            calls.extend(methods.split(", ").map(|method| format!("{method} /api/{path}")));
        }
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn the_contract_promises_what_is_described_and_nothing_else() {
    let served = Served::new(&[]).await;
    let mut named = BTreeSet::new();
    for (path, methods) in described(&document(&served).await) {
        let path =
            path.replace("{conversation_id}", "{}").replace("{user_id}", "{}").replace("{message_id}", "{}");
        named.extend(methods.iter().map(|method| format!("{method} {path}")));
    }
    assert_eq!(named, promised(), "docs/contract.md, section 4");
}

/// Every `$ref` in the document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, inner)| match inner.as_str() {
            Some(place) if key == "$ref" => drop(found.insert(place.to_owned())),
            _ => references(inner, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_document_refers_to_is_there_and_nothing_is_there_for_nothing() {
    let document = document(&Served::new(&[]).await).await;
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    let mut defined = BTreeSet::new();
    for part in ["schemas", "headers"] {
        let names = document["components"][part].as_object().unwrap().keys();
        defined.extend(names.map(|name| format!("#/components/{part}/{name}")));
    }
    assert_eq!(referred, defined);
}

#[tokio::test(start_paused = true)]
async fn a_query_parameter_counts_where_it_is_described_and_only_there() {
    let served = Served::new(&["--rate-pushes=0", "--rate-messages=0"]).await;
    let asked = testing::worker(&served, |_| Ok((200, serde_json::json!({})))).await;
    let token = testing::user_token(&served.env, "alice");
    let document = document(&served).await;
    let mut known = 0;
    for (path, methods) in described(&document).into_iter().filter(|(path, _)| path != PATH) {
        for method in methods {
            let operation = &document["paths"][&path][method.to_lowercase()];
            let line = format!("{method} {}", filled(&path));
            let heard = ask(&served, &format!("{line}?nonsense=1"), &token).await;
            assert_eq!(heard.status, 400, "{line}");
            assert!(heard.json()["error"]["errors"]["nonsense"].is_array(), "{line}: {}", heard.body);
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                known += 1;
                let name = parameter["name"].as_str().unwrap();
                let value = if parameter["schema"]["type"] == "boolean" { "true" } else { "1" };
                let heard = ask(&served, &format!("{line}?{name}={value}"), &token).await;
                assert_eq!(heard.status, 200, "{line} {name}: {}", heard.body);
                let heard = ask(&served, &format!("{line}?{name}=1&{name}=1"), &token).await;
                assert_eq!(heard.json()["error"]["errors"][name][0], "must not be given twice", "{line}");
            }
        }
    }
    assert_eq!((known, asked.lock().unwrap().len()), (19, 19));
}
