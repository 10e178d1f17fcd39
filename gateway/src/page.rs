//! The chat page (`SIMURGH_DEMO_PAGE`): static files out of `gateway/page`, part of the binary, and `/demo.json`, which
//! tells the page how its users come by a token.
//!
//! A gateway has a secret and the page is public, so the two never meet: what the page may sign with is a
//! [`Signing`], whose secret can only be a constant of the program that embeds the gateway. `simurgh-gateway` embeds
//! none; its page asks for a token to be pasted.

use axum::{Json, Router, routing::get};
use http::{HeaderName, header};
use serde::Serialize;

/// Only what this gateway serves itself, nothing inline, in nobody's frame; no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// One file of the page: its path, its content type, its text.
type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($name:literal: $kind:expr),* $(,)?) => {
        [$((concat!("/page/", $name), $kind, include_str!(concat!("../page/", $name)))),*]
    };
}

/// Everything below `gateway/page`; the page itself is at `/` too.
const FILES: &[File] = &files! {
    "index.html": HTML,
    "icon.svg": SVG,
    "css/base.css": CSS,
    "css/welcome.css": CSS,
    "css/frame.css": CSS,
    "css/list.css": CSS,
    "css/message.css": CSS,
    "css/thread.css": CSS,
    "css/dialog.css": CSS,
    "css/wire.css": CSS,
    "js/main.js": JS,
    "js/client/api.js": JS,
    "js/client/blocks.js": JS,
    "js/client/client.js": JS,
    "js/client/conversation.js": JS,
    "js/client/history.js": JS,
    "js/client/ids.js": JS,
    "js/client/mentions.js": JS,
    "js/client/mute.js": JS,
    "js/client/outbox.js": JS,
    "js/client/people.js": JS,
    "js/client/push.js": JS,
    "js/client/receipts.js": JS,
    "js/client/tap.js": JS,
    "js/client/timeline.js": JS,
    "js/client/token.js": JS,
    "js/client/typing.js": JS,
    "js/view/avatar.js": JS,
    "js/view/block.js": JS,
    "js/view/compose.js": JS,
    "js/view/dialog.js": JS,
    "js/view/dom.js": JS,
    "js/view/emblem.js": JS,
    "js/view/icons.js": JS,
    "js/view/list.js": JS,
    "js/view/mention.js": JS,
    "js/view/message.js": JS,
    "js/view/mute.js": JS,
    "js/view/people.js": JS,
    "js/view/profile.js": JS,
    "js/view/quote.js": JS,
    "js/view/receipts.js": JS,
    "js/view/remove.js": JS,
    "js/view/start.js": JS,
    "js/view/thread.js": JS,
    "js/view/time.js": JS,
    "js/view/toast.js": JS,
    "js/view/tools.js": JS,
    "js/view/welcome.js": JS,
    "js/view/wire.js": JS,
    "vendor/phoenix.mjs": JS,
    "vendor/phoenix.LICENSE.md": TEXT,
};

/// What the page signs its users' tokens with, so that a newcomer can be anybody. Everybody who can reach the page can
/// read it.
#[derive(Clone, Debug, Serialize)]
pub struct Signing {
    /// The secret of HS256. It is `'static` so that it is a constant in somebody's code: what was read from an
    /// environment, a flag or a file does not fit in here.
    pub secret: &'static str,
    /// `iss`, where the gateway checks it.
    pub issuer: Option<String>,
    /// `aud`, where the gateway checks it.
    pub audience: Option<String>,
}

/// What `/demo.json` says.
#[derive(Clone, Serialize)]
struct Demo {
    /// The claim that holds the user's id.
    user_claim: String,
    /// `null`: tokens are pasted.
    signing: Option<Signing>,
}

/// The page's routes.
pub(crate) fn router(user_claim: &str, signing: Option<Signing>) -> Router {
    let demo = Demo { user_claim: user_claim.to_owned(), signing };
    let mut router = Router::new().route(
        "/demo.json",
        get(move || {
            let demo = Json(demo.clone());
            async move { (headers("no-store"), demo) }
        }),
    );
    for &(path, kind, text) in FILES {
        let answer = move || async move { (headers("no-cache"), [(header::CONTENT_TYPE, kind)], text) };
        router = router.route(path, get(answer));
        if path == "/page/index.html" {
            router = router.route("/", get(answer));
        }
    }
    router
}

/// What every answer carries. A newer program must show its own page at once: `no-cache` asks each time.
fn headers(cache: &'static str) -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, cache),
    ]
}

#[cfg(test)]
mod tests;
