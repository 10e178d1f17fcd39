//! The standard health service: as `/readyz` says.

use std::{sync::Arc, time::Duration};

use simurgh_rpc::v1::messaging_server::SERVICE_NAME;
use simurgh_service::readiness::Status;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::Shared;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// Says what the gateway's readiness says, of the whole (the empty name) and of the service, until the gateway stops.
pub(super) async fn follow(shared: Arc<Shared>, reporter: HealthReporter) {
    let mut said = None;
    loop {
        let ready = matches!(shared.readiness.report().status, Status::Ready);
        if said != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in ["", SERVICE_NAME] {
                reporter.set_service_status(name, status).await;
            }
            said = Some(ready);
        }
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
