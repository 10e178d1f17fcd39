//! One trace across processes: the context of the span that publishes travels beside the payload, as the header
//! `traceparent` of W3C's Trace Context on NATS.
//!
//! Spans of traces have a target of their own, [`TARGET`]. Where no exporter is configured nothing asks for that
//! target: a span costs the look at a flag, and nothing travels.

use std::sync::Arc;

use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of spans that belong to traces.
pub const TARGET: &str = "simurgh_trace";

/// The header's name, on the backplane and on HTTP (W3C Trace Context, 3.2).
pub const HEADER: &str = "traceparent";

/// Where a trace goes on: `00-{trace}-{span}-{flags}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(Arc<str>);

impl Trace {
    /// The current span's, where it is part of a trace.
    #[must_use]
    pub fn current() -> Option<Self> {
        let span = Span::current();
        if span.is_none() {
            return None;
        }
        let context = span.context();
        let context = context.span().span_context().clone();
        context.is_valid().then(|| {
            let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
            Self(format!("00-{trace}-{span}-{flags:02x}").into())
        })
    }

    /// What the header of a request names; none where that is no trace.
    #[must_use]
    pub fn of_header(value: &[u8]) -> Option<Self> {
        let trace = Self::raw(std::str::from_utf8(value).ok()?);
        trace.context().is_some().then_some(trace)
    }

    /// What a header holds.
    pub(crate) fn raw(text: &str) -> Self {
        Self(text.into())
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn context(&self) -> Option<SpanContext> {
        let mut parts = self.0.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || (trace.len(), span.len(), flags.len()) != (32, 16, 2) || parts.next().is_some()
        {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::default());
        context.is_valid().then_some(context)
    }
}

/// A span that goes on with the trace that came with a delivery; none where none came.
#[must_use]
pub fn continued(trace: Option<&Trace>, make: impl FnOnce() -> Span) -> Span {
    let Some(context) = trace.and_then(Trace::context) else { return Span::none() };
    let span = make();
    // Fails where nothing collects traces here.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
    span
}

/// The span of a call, which goes on with its caller's trace where whoever calls is `trusted`. Where not, the call has a
/// trace of its own, linked to the caller's: what outsiders send decides neither ids nor what is sampled.
#[must_use]
pub fn called(trusted: bool, header: impl FnOnce() -> Option<Trace>, make: impl FnOnce() -> Span) -> Span {
    let span = make();
    if span.is_disabled() {
        return span;
    }
    if let Some(context) = header().as_ref().and_then(Trace::context) {
        if trusted {
            // Fails where nothing collects traces here.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
        } else {
            span.add_link(context);
        }
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_junk_is_no_trace() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = Trace::raw(header).context().unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_remote() && context.is_sampled());
        for junk in [
            "",
            "00-1-2-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &format!("{header}-x"),
        ] {
            assert!(Trace::raw(junk).context().is_none(), "{junk}");
            assert_eq!(Trace::of_header(junk.as_bytes()), None, "{junk}");
        }
        assert_eq!(Trace::of_header(header.as_bytes()), Some(Trace::raw(header)));
        assert_eq!(Trace::of_header(b"\xff"), None);
        let zero = "00-00000000000000000000000000000000-0000000000000000-00";
        assert!(Trace::raw(zero).context().is_none());
    }

    #[test]
    fn without_a_trace_nothing_travels_and_nothing_begins() {
        assert_eq!(Trace::current(), None);
        assert!(continued(None, || panic!("no span is made")).is_none());
        let call = || tracing::info_span!(target: TARGET, "call");
        assert!(called(true, || panic!("nobody looks for a header"), call).is_disabled());
    }
}
