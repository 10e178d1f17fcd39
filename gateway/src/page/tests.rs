use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use super::{FILES, Signing};
use crate::testing::{Heard, SECRET, Served, exchange};

async fn get(served: &Served, path: &str) -> Heard {
    exchange(&mut served.connect().await, &format!("GET {path} HTTP/1.1\nhost: x\n\n")).await
}

fn signing() -> Signing {
    Signing { secret: "a-constant", issuer: Some("me".to_owned()), audience: None }
}

#[tokio::test(start_paused = true)]
async fn there_is_no_page_unless_it_is_asked_for() {
    for args in [&[][..], &["--demo-page=false"][..]] {
        let served = Served::new(args).await;
        for path in ["/", "/demo.json", "/page/index.html", "/page/js/main.js", "/page/vendor/phoenix.mjs"] {
            assert_eq!(get(&served, path).await.status, 404, "{path}");
        }
    }
    // A program that would embed the gateway and hand it something to sign with has to ask for the page all the same.
    let served = Served::with_signing(&[], Some(signing())).await;
    assert_eq!(get(&served, "/demo.json").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn every_file_of_the_page_is_served_with_its_type_and_a_strict_policy() {
    let served = Served::new(&["--demo-page"]).await;
    for path in std::iter::once("/").chain(FILES.iter().map(|(path, ..)| *path)) {
        let heard = get(&served, path).await;
        assert_eq!(heard.status, 200, "{path}");
        let kind = match path.rsplit('.').next().unwrap() {
            "js" | "mjs" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "md" => "text/plain; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(heard.header("content-type"), Some(kind), "{path}");
        assert_eq!(heard.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(heard.header("cache-control"), Some("no-cache"), "{path}");
        let policy = heard.header("content-security-policy").unwrap();
        for directive in
            ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.split("; ").any(|one| one == directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        let file = path.strip_prefix("/page/").unwrap_or("index.html");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        assert_eq!(heard.body, fs::read_to_string(folder.join(file)).unwrap(), "{path}");
    }
    assert_eq!(get(&served, "/page/js/none.js").await.status, 404);
    assert_eq!(get(&served, "/page/../Cargo.toml").await.status, 404);
    // It takes nothing away from the API.
    assert_eq!(get(&served, "/api/v1/contacts").await.status, 401);
}

#[test]
fn every_file_in_the_folder_is_part_of_the_page() {
    fn walk(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let (path, name) = entry.map(|one| (one.path(), one.file_name())).unwrap();
            let name = format!("{below}/{}", name.to_str().unwrap());
            if path.is_dir() { walk(&path, &name, found) } else { assert!(found.insert(name)) }
        }
    }
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("page"), "/page", &mut found);
    assert_eq!(FILES.iter().map(|(path, ..)| (*path).to_owned()).collect::<BTreeSet<_>>(), found);
}

#[tokio::test(start_paused = true)]
async fn a_plain_gateway_tells_the_page_no_secret() {
    let served = Served::new(&["--demo-page=true"]).await;
    let heard = get(&served, "/demo.json").await;
    assert_eq!((heard.status, heard.json()), (200, json!({"user_claim": "sub", "signing": null})));
    assert_eq!(heard.header("cache-control"), Some("no-store"));
    assert_eq!(heard.header("x-content-type-options"), Some("nosniff"));
    assert!(!heard.body.contains(SECRET) && !heard.head.contains(SECRET));
    // Other sites cannot even read that much.
    let ask = "GET /demo.json HTTP/1.1\nhost: x\norigin: https://a.test\n\n";
    let heard = exchange(&mut served.connect().await, ask).await;
    assert_eq!(heard.header("access-control-allow-origin"), None);
    let mut internal = served.internal.connect().await.unwrap();
    assert_eq!(exchange(&mut internal, ask).await.status, 404, "operators' listener has no page");
}

#[tokio::test(start_paused = true)]
async fn who_embeds_the_gateway_may_hand_the_page_a_constant_of_its_own() {
    let served = Served::with_signing(&["--demo-page"], Some(signing())).await;
    let told = get(&served, "/demo.json").await.json();
    let wanted = json!({"secret": "a-constant", "issuer": "me", "audience": Value::Null});
    assert_eq!(told["signing"], wanted, "and not the gateway's own secret");
}
