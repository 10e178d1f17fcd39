//! The SDK's client: connections, credentials, retries.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::{credentials::CredentialsProviderChain, region::RegionProviderChain},
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::{
    Client,
    config::{
        Builder, Credentials,
        retry::{RetryPartition, TokenBucket},
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::throttles::Throttles;

/// Tries of one request, the first included.
const ATTEMPTS: u32 = 4;
/// The pause before the second try is drawn from zero to this; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// Tokens that come back to the SDK's quota of retries each second, beside the one for each success. A quota of 500
/// is shared by all calls; a retry takes 5, and 10 after a time-out. So a store in distress is not asked four times
/// for everything, and once it answers again, retries do too.
const QUOTA_REFILL: f32 = 50.0;
/// Connections idle for longer are closed, before DynamoDB closes them from its side.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const IDLE_CONNECTIONS: usize = 256;

/// A client that connects at its first request, for calls that take `call_timeout` at most.
pub(super) async fn connect(endpoint: Option<&str>, call_timeout: Duration, throttles: Throttles) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_PAUSE)
                .with_max_backoff(LONGEST_PAUSE),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(call_timeout / 4)
                // Until the first byte of an answer: two tries fit into a call.
                .read_timeout(call_timeout * 9 / 20)
                .build(),
        );
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
        if endpoint.starts_with("http://") {
            loader = local(loader);
        }
    }
    // The default quota is shared with every other client of the process.
    let quota = TokenBucket::builder().refill_rate(QUOTA_REFILL).build();
    let quota = RetryPartition::custom("simurgh").token_bucket(quota).build();
    let config = Builder::from(&loader.load().await).retry_partition(quota).interceptor(throttles);
    Client::from_conf(config.build())
}

/// The default chain asks for an instance's metadata over the network, for seconds where there is none. Engines on
/// plain HTTP take any credentials; AWS's own service has no such address.
fn local(loader: ConfigLoader) -> ConfigLoader {
    let made_up = Credentials::new("test", "test", None, None, "simurgh");
    let credentials =
        CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("MadeUp", made_up);
    let region =
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else("us-east-1");
    loader.credentials_provider(credentials).region(region)
}
