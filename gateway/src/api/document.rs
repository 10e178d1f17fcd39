//! `GET /api/openapi.json`: the document that describes all calls (OpenAPI 3.1).

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, Info, OpenApi, OpenApiBuilder,
    header::{Header, HeaderBuilder},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    tag::{Tag, TagBuilder},
};

use super::{
    calls::{Call, Calls, JSON},
    refusals, schema,
};

/// Where it is served.
pub(super) const PATH: &str = "/api/openapi.json";

/// How the document calls the tokens.
const TOKEN: &str = "token";

const ABOUT: &str = "\
Conversations and messages by HTTP. What happens in them meanwhile is told by Phoenix Channels at `/socket`.

Every refusal is `{\"error\": {\"reason\", \"message\", …}}`: go by `reason`. Whatever can be tried again later \
(429, 503) says when in `Retry-After`. A path that is not listed answers 404 `not_found`, another method than those listed \
405 with `Allow`. `X-Request-Id` names a request in the answer and in logs; a caller may bring its own, of up to 128 \
letters, digits and `-_.:/+=`.

In a body, fields that are not listed are ignored, and null is as good as absent where a field may be left out. A query \
parameter that is not listed, or is given twice, is refused with `validation_failed`. A body may have 128 KiB \
(SIMURGH_MAX_FRAME_BYTES) and nest 128 levels deep. Bounds that have a setting are given as its default.";

/// The document's text.
pub(super) fn text(calls: Calls) -> Bytes {
    // Nothing in it has a key that is not text, which is all that could fail.
    serde_json::to_vec(&document(calls)).unwrap_or_default().into()
}

fn document(calls: Calls) -> OpenApi {
    let Calls { paths, reasons, .. } = calls;
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(
        "A user's token acts for that user; a service's, with `service` in its `scope`, for any.",
    ));
    let schemas = schema::all().chain(refusals::schemas(&reasons));
    let components = schemas
        .fold(ComponentsBuilder::new(), |components, (name, schema)| components.schema(name, schema))
        .security_scheme(TOKEN, SecurityScheme::Http(token.build()));
    let components = headers().into_iter().fold(components, |all, (name, header)| all.header(name, header));
    OpenApiBuilder::new()
        .info(
            Info::builder()
                .title("Simurgh")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .build(),
        )
        .tags(Some(tags()))
        .security(Some([SecurityRequirement::new(TOKEN, [] as [&str; 0])]))
        .components(Some(components.build()))
        .paths(paths)
        .build()
}

fn headers() -> [(&'static str, Header); 3] {
    let text =
        |description: &str| HeaderBuilder::from(Header::default()).description(Some(description)).build();
    let seconds = HeaderBuilder::from(Header::new(schema::whole(1)));
    [
        ("X-Request-Id", text("Names the request, in logs as well.")),
        ("WWW-Authenticate", text("`Bearer`.")),
        ("Retry-After", seconds.description(Some("When to try again, in seconds.")).build()),
    ]
}

fn tags() -> [Tag; 5] {
    let tag =
        |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    [
        tag("conversations", "Direct conversations of a fixed pair, and groups, whose members come and go."),
        tag("messages", "The messages of a conversation, in one order."),
        tag("contacts", "Whom a user shows its status to."),
        tag("users", "What can be asked of a user, and told to it."),
        tag("meta", "The API itself."),
    ]
}

/// How the document describes its own call.
pub(super) fn call() -> Call {
    Call::new(HttpMethod::Get, "meta", "getOpenApi", "This document").says("Needs no token.").open().answers(
        200,
        "OpenAPI 3.1",
        "OpenApi",
    )
}

/// The document as an answer.
pub(super) fn answer(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}

#[cfg(test)]
mod tests;
