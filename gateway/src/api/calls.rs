//! The calls, each with its documentation. Both are one entry: a call that is not described is not routed, and a query
//! parameter that is not described is refused.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Extension, Router,
    handler::Handler,
    routing::{MethodFilter, get, on},
};
use simurgh_protocol::Reason;
use utoipa::openapi::{
    Content, HttpMethod, Paths, Ref, Required,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    response::{Response, ResponseBuilder},
};

use super::{
    Context, document, refusals,
    schema::{Shape, refer, text},
};

/// What all calls of this version are below.
const BASE: &str = "/api/v1";
/// What every body is.
pub(super) const JSON: &str = "application/json";
/// What every call but those that are [`Call::open`] can be refused with.
const ALWAYS: [Reason; 4] =
    [Reason::ValidationFailed, Reason::Unauthorized, Reason::Forbidden, Reason::Unavailable];

/// Calls that are routed, and the document's part on them.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) router: Router<Context>,
    pub(super) paths: Paths,
    /// Why they can be refused.
    pub(super) reasons: BTreeSet<Reason>,
}

/// The names of the query parameters that a call has.
#[derive(Clone)]
pub(super) struct Accepts(pub(super) Arc<[String]>);

impl Calls {
    /// One call more, at `path` below [`BASE`], with the parameters in braces that [`in_path`] knows.
    pub(super) fn on<H, T>(self, path: &str, handler: H, call: Call) -> Self
    where
        H: Handler<T, Context>,
        T: 'static,
    {
        let path = format!("{BASE}{path}");
        let names = call.query.iter().map(|parameter| parameter.name.clone()).collect();
        let route = on(filter(&call.method), handler).layer(Extension(Accepts(names)));
        let described = self.describe(&path, call);
        Self { router: described.router.route(&path, route), ..described }
    }

    /// What the document says of the call at this path.
    fn describe(mut self, path: &str, call: Call) -> Self {
        self.reasons.extend(&call.reasons);
        let method = call.method.clone();
        self.paths.add_path_operation(path, vec![method], call.operation(path));
        self
    }

    /// All of them, and the document that describes them.
    pub(super) fn with_document(self) -> Router<Context> {
        let calls = self.describe(document::PATH, document::call());
        let router = calls.router.clone();
        let text = document::text(calls);
        router.route(document::PATH, get(async move || document::answer(text)))
    }
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}

/// What one call is, asks and answers.
pub(super) struct Call {
    method: HttpMethod,
    operation: OperationBuilder,
    query: Vec<Parameter>,
    body: Option<RequestBody>,
    reasons: BTreeSet<Reason>,
    /// Nobody has to prove who calls.
    open: bool,
}

impl Call {
    /// A call of this method. `id` names it in clients that are made from the document, `tag` is its group there.
    pub(super) fn new(method: HttpMethod, tag: &str, id: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        Self { method, operation, query: Vec::new(), body: None, reasons: ALWAYS.into(), open: false }
    }

    /// What else there is to say.
    pub(super) fn says(mut self, description: &str) -> Self {
        self.operation = self.operation.description(Some(description));
        self
    }

    /// Takes a query parameter.
    pub(super) fn query(mut self, parameter: Parameter) -> Self {
        self.query.push(parameter);
        self
    }

    /// Takes a body of this schema.
    pub(super) fn body(mut self, schema: &str) -> Self {
        let content = Content::new(Some(refer(schema)));
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True));
        self.body = Some(body.build());
        self.refused([Reason::MessageTooLarge])
    }

    /// Answers with this status and a body of this schema.
    pub(super) fn answers(mut self, status: u16, description: &str, schema: &str) -> Self {
        let content = Content::new(Some(refer(schema)));
        let response = answer(description).content(JSON, content).build();
        self.operation = self.operation.response(status.to_string(), response);
        self
    }

    /// Answers with 204 and no body.
    pub(super) fn done(mut self, description: &str) -> Self {
        self.operation = self.operation.response("204", answer(description).build());
        self
    }

    /// May be refused for these reasons, too.
    pub(super) fn refused(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.reasons.extend(reasons);
        self
    }

    /// Needs no token, and is never refused.
    pub(super) fn open(mut self) -> Self {
        self.open = true;
        self.reasons.clear();
        self
    }

    fn operation(self, path: &str) -> Operation {
        let mut operation = self.operation.request_body(self.body);
        for parameter in in_path(path).chain(self.query) {
            operation = operation.parameter(parameter);
        }
        for (status, response) in refusals::responses(&self.reasons) {
            operation = operation.response(status.to_string(), response);
        }
        if self.open {
            // An empty list: not even what holds for all others.
            operation = operation.securities(Some([]));
        }
        operation.build()
    }
}

/// An answer with the headers that each has.
pub(super) fn answer(description: &str) -> ResponseBuilder {
    Response::builder().description(description).header_ref("X-Request-Id", header("X-Request-Id"))
}

/// A header of the document's components.
pub(super) fn header(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

/// The parameters of a path such as `/users/{user_id}/presence`.
fn in_path(path: &str) -> impl Iterator<Item = Parameter> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names.map(|name| {
        let schema = match name {
            "conversation_id" => refer("ConversationId"),
            "user_id" => refer("UserId"),
            "message_id" => refer("MessageId"),
            _ => text().into(),
        };
        parameter(ParameterIn::Path, name, Required::True, schema).build()
    })
}

/// A query parameter that may not be left out.
pub(super) fn required(name: &str, description: &str, schema: impl Into<Shape>) -> Parameter {
    parameter(ParameterIn::Query, name, Required::True, schema).description(Some(description)).build()
}

/// A query parameter that may be left out.
pub(super) fn optional(name: &str, description: &str, schema: impl Into<Shape>) -> Parameter {
    parameter(ParameterIn::Query, name, Required::False, schema).description(Some(description)).build()
}

fn parameter(
    place: ParameterIn,
    name: &str,
    required: Required,
    schema: impl Into<Shape>,
) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(schema))
}
