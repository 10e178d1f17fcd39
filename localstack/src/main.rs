//! `simurgh`: the whole system in one process.

use std::process::ExitCode;

fn main() -> ExitCode {
    simurgh_service::exit_code(simurgh_localstack::run())
}
