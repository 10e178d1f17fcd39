//! Logs and traces. Logs go to stderr; stdout is for what a person asked for. Traces go to a collector where one is
//! configured.

use std::{
    fmt,
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use simurgh_backplane::trace;
use tokio::runtime::{Builder, Runtime};
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, Targets, filter_fn},
    fmt::{MakeWriter, layer},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{LogArgs, LogFormat};

/// What the backplane says itself, and better. A filter may ask for it all the same.
const QUIET: &str = "async_nats=warn";
/// Spans that wait for the collector; with more, the newest are dropped.
const SPANS: usize = 2_048;
/// Spans of one export.
const BATCH: usize = 512;
/// How long spans wait for more, and how long an export may take.
const DELAY: Duration = Duration::from_secs(2);
const EXPORT: Duration = Duration::from_secs(5);
/// How long the last spans may take to leave at the process's end.
const LAST: Duration = Duration::from_secs(2);

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// What sends traces. Dropped at the end of the process, it sends the last of them.
#[derive(Default)]
#[must_use]
pub struct Telemetry(Option<Exporter>);

struct Exporter {
    provider: SdkTracerProvider,
    /// A thread of its own: a collector that is slow or away holds nothing up.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Exporter { provider, runtime }) = &mut self.0 {
            // A collector that is away does not get them.
            let _ = provider.shutdown_with_timeout(LAST);
            if let Some(runtime) = runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

/// Turns logs, and traces where configured, on for the whole process, which is the service of this name. The first call
/// counts.
pub fn init(args: &LogArgs, service: &'static str) -> Telemetry {
    init_with(args, service, io::stderr, io::stderr().is_terminal())
}

/// The same with lines written elsewhere; `terminal` is whether a person reads them.
pub fn init_with(
    args: &LogArgs,
    service: &'static str,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
    terminal: bool,
) -> Telemetry {
    let endpoint = args.otlp_endpoint();
    let (telemetry, failed) = match endpoint.map(|endpoint| exporter(endpoint, service)).transpose() {
        Ok(exporter) => (Telemetry(exporter), None),
        Err(error) => (Telemetry(None), Some(error)),
    };
    let layers: Vec<Boxed> =
        [Some(lines(args, writer, terminal)), telemetry.spans()].into_iter().flatten().collect();
    if tracing_subscriber::registry().with(layers).try_init().is_err() {
        tracing::debug!("logs were on already");
    }
    if let Some(error) = failed {
        tracing::error!(
            error = format!("{error:#}"),
            "no traces are sent: check OTEL_EXPORTER_OTLP_ENDPOINT"
        );
    }
    telemetry
}

fn lines(
    args: &LogArgs,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
    terminal: bool,
) -> Boxed {
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines: Boxed = match format {
        LogFormat::Text => layer().with_writer(writer).with_ansi(terminal).boxed(),
        LogFormat::Json => layer().json().flatten_event(true).with_writer(writer).boxed(),
    };
    lines.with_filter(filter(args)).boxed()
}

impl Telemetry {
    /// What takes the spans of traces.
    fn spans(&self) -> Option<Boxed> {
        let Exporter { provider, .. } = self.0.as_ref()?;
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("simurgh"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let of_traces = Targets::new().with_target(trace::TARGET, LevelFilter::INFO);
        Some(spans.with_filter(of_traces).boxed())
    }
}

/// Which lines are written. What other crates say in detail is never: it may hold content and tokens.
fn filter<S>(args: &LogArgs) -> impl tracing_subscriber::layer::Filter<S> + use<S> {
    // The filter was checked when the settings were parsed. Spans of traces are no lines.
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{},{}=off", args.log, trace::TARGET));
    let ours =
        filter_fn(|metadata| metadata.target().starts_with("simurgh") || *metadata.level() <= Level::INFO);
    FilterExt::and(filter, ours)
}

/// What sends spans to the collector at `endpoint`, by gRPC, in the background and bounded.
fn exporter(endpoint: &str, service: &'static str) -> anyhow::Result<Exporter> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("traces")
        .enable_all()
        .build()
        .context("no thread for traces")?;
    let entered = runtime.enter();
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT).build()?;
    drop(entered);
    let bounds = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(bounds).build())
        .with_resource(Resource::builder().with_service_name(service).build())
        .build();
    Ok(Exporter { provider, runtime: Some(runtime) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use simurgh_env::Env;

    use super::*;

    /// More spans than wait at most, and how long they and the end took.
    fn spans(endpoint: &str) -> Duration {
        let env = Env::system();
        let began = env.instant();
        let telemetry = Telemetry(Some(exporter(endpoint, "test").unwrap()));
        let layers: Vec<Boxed> = telemetry.spans().into_iter().collect();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), || {
            for _ in 0..20 * SPANS {
                tracing::info_span!(target: trace::TARGET, "span").in_scope(|| {});
            }
        });
        drop(telemetry);
        began.elapsed()
    }

    #[test]
    fn a_collector_that_is_silent_or_away_holds_nothing_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let most = LAST + EXPORT;
        assert!(spans(&format!("http://{address}")) < most);
        drop(silent);
        assert!(spans(&format!("http://{address}")) < most);
    }
}
