//! Throttles as they come: the SDK tries again by itself, and tells of the last try only.

use std::sync::Arc;

use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::FinalizerInterceptorContextRef},
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;

use crate::metrics::Metrics;

/// Codes of DynamoDB's that mean that too much was asked ("Error handling with DynamoDB").
const CODES: [&str; 4] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ThrottlingError",
];

/// Counts each try whose answer is a throttle.
#[derive(Debug)]
pub(super) struct Throttles(pub(super) Arc<Metrics>);

impl Intercept for Throttles {
    fn name(&self) -> &'static str {
        "throttles"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(response) = context.response().filter(|response| !response.status().is_success()) else {
            return Ok(());
        };
        // A cancelled transaction names its reasons in the same body.
        let body = response.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
        if CODES.iter().any(|code| body.contains(code)) {
            self.0.throttled(config.load::<Metadata>().map_or("other", Metadata::name));
        }
        Ok(())
    }
}
