//! Settings: one clap struct a binary, each field a flag and an environment variable, shared groups flattened into it.
//! Nothing else reads the environment.

use clap::{Command, Parser, error::ErrorKind};

use crate::{EXIT_BAD_SETTING, one_line, tell};

mod groups;
mod offline;
mod values;

pub use groups::{LogArgs, LogFormat, NatsArgs};
pub use offline::{OfflineArgs, OfflineStream};
pub use values::{Rate, RateLimit, Secret, duration, switch};

/// A setting that cannot be used, and why. Shown as `SIMURGH_X: must …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct BadSetting {
    /// The environment variable's name.
    pub setting: &'static str,
    /// What is wrong, and what would be right. Never the value of a secret.
    pub problem: String,
}

impl BadSetting {
    /// A bad setting: `setting` is the environment variable's name.
    #[must_use]
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }
}

/// A binary's settings.
pub trait Settings: Parser {
    /// What one field's parser cannot see by itself.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    fn validate(&self) -> Result<(), BadSetting>;

    /// Where a binary that flattens another's settings changes their defaults (`command.mut_arg(…)`).
    #[must_use]
    fn adjust(command: Command) -> Command {
        command
    }
}

/// Why parsing did not give settings, and how the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The text that `--help` or `--version` asks for; 0.
    Told(String),
    /// One line for stderr; 64.
    Bad(String),
}

/// The settings from the command line and the environment. Does not return where they are bad (one line on stderr,
/// exit 64) or where only `--help` or `--version` was asked for (exit 0).
#[must_use]
pub fn parse<C: Settings>() -> C {
    match parse_from::<C>(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Stop::Told(text)) => {
            tell(&text);
            std::process::exit(0)
        }
        Err(Stop::Bad(line)) => {
            eprintln!("{line}");
            std::process::exit(i32::from(EXIT_BAD_SETTING))
        }
    }
}

/// The same from these arguments (the first is the program's name) and the environment, without ending the process.
///
/// # Errors
/// [`Stop`], where there are no settings to run with.
pub fn parse_from<C: Settings>(
    args: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> Result<C, Stop> {
    let mut command = C::adjust(C::command());
    let name = command.get_name().to_owned();
    let parsed = command.try_get_matches_from_mut(args).and_then(|matches| C::from_arg_matches(&matches));
    let settings = match parsed {
        Ok(settings) => settings,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Err(Stop::Told(error.render().to_string()));
        }
        Err(error) => return Err(Stop::Bad(format!("{name}: {}", condensed(&error, &command)))),
    };
    settings.validate().map_err(|bad| Stop::Bad(format!("{name}: {}", one_line(&bad.to_string()))))?;
    Ok(settings)
}

/// What `--help` says.
#[must_use]
pub fn help<C: Settings>() -> String {
    C::adjust(C::command()).render_long_help().to_string()
}

/// The first paragraph of clap's message as one line, with the environment variable beside each flag that it names.
fn condensed(error: &clap::Error, command: &Command) -> String {
    let rendered = error.render().to_string();
    let first = rendered.split("\n\n").next().unwrap_or(&rendered);
    let mut line = one_line(first.strip_prefix("error: ").unwrap_or(first));
    for arg in command.get_arguments() {
        if let (Some(long), Some(env)) = (arg.get_long(), arg.get_env()) {
            line = line.replace(&arg.to_string(), &format!("--{long} ({})", env.to_string_lossy()));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What the program does.
    #[derive(Debug, Parser)]
    #[command(name = "program", version)]
    struct Config {
        #[command(flatten)]
        nats: NatsArgs,
        #[command(flatten)]
        log: LogArgs,
        /// Where to listen.
        #[arg(long, env = "PROGRAM_LISTEN", default_value = "0.0.0.0:4000")]
        listen: std::net::SocketAddr,
        /// How long.
        #[arg(long, env = "PROGRAM_WAIT", default_value = "10s", value_parser = duration)]
        wait: Duration,
        /// The key.
        #[arg(long, env = "PROGRAM_SECRET", hide_env_values = true)]
        secret: Option<Secret>,
    }

    impl Settings for Config {
        fn validate(&self) -> Result<(), BadSetting> {
            self.nats.validate()?;
            if self.secret.as_ref().is_some_and(Secret::is_empty) {
                return Err(BadSetting::new("PROGRAM_SECRET", "must not be\nempty"));
            }
            Ok(())
        }

        fn adjust(command: Command) -> Command {
            command.mut_arg("listen", |arg| arg.default_value("127.0.0.1:5000"))
        }
    }

    fn parsed(args: &[&str]) -> Result<Config, Stop> {
        parse_from(std::iter::once("program").chain(args.iter().copied()))
    }

    fn bad(args: &[&str]) -> String {
        match parsed(args) {
            Err(Stop::Bad(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_can_be_adjusted_and_flags_win() {
        let config = parsed(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:5000");
        assert_eq!(config.wait, Duration::from_secs(10));
        assert_eq!(config.nats.nats_replicas, 1);
        assert_eq!(config.log.log, "info");
        assert_eq!(parsed(&["--wait", "1m 30s"]).unwrap().wait, Duration::from_secs(90));
    }

    #[test]
    fn a_bad_setting_is_one_line_that_names_flag_and_variable() {
        assert_eq!(
            bad(&["--listen", "here"]),
            "program: invalid value 'here' for '--listen (PROGRAM_LISTEN)': invalid socket address syntax"
        );
        assert_eq!(
            bad(&["--log-format", "xml"]),
            "program: invalid value 'xml' for '--log-format (SIMURGH_LOG_FORMAT)' [possible values: text, json]"
        );
        assert_eq!(bad(&["--what"]), "program: unexpected argument '--what' found");
        assert_eq!(bad(&["--secret", ""]), "program: PROGRAM_SECRET: must not be empty");
        for args in [
            ["--wait", "long"],
            ["--log", "a=b=c"],
            ["--otlp-endpoint", "collector:4317"],
            ["--nats-url", "http://x"],
            ["--namespace", "a.b"],
            ["--offline-stream", "everything"],
            ["--offline-max-bytes", "1000"],
            ["--offline-max-per-user", "0"],
        ] {
            let line = bad(&args);
            assert!(!line.contains('\n') && line.starts_with("program: "), "{line}");
        }
    }

    #[test]
    fn a_backplane_that_cannot_be_used_is_a_bad_setting() {
        for (args, setting) in [
            (["--nats-url", "nats://me:hunter2@127.0.0.1:notaport"], "SIMURGH_NATS_URL"),
            (["--nats-url", "nats://127.0.0.1:4222,nats://127.0.0.1:99999"], "SIMURGH_NATS_URL"),
            (["--nats-creds", "/does/not/exist"], "SIMURGH_NATS_CREDS"),
            (["--nats-creds", file!()], "SIMURGH_NATS_CREDS"),
            (["--nats-ca", "/"], "SIMURGH_NATS_CA"),
            (["--offline-max-age", "5m"], "SIMURGH_OFFLINE_MAX_AGE"),
            (["--nats-ca", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")], "SIMURGH_NATS_CA"),
        ] {
            let line = bad(&args);
            assert!(line.starts_with(&format!("program: {setting}: ")) && !line.contains('\n'), "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn help_is_told_and_hides_nothing_but_secrets() {
        let Err(Stop::Told(help)) = parsed(&["--help"]) else { panic!("no help") };
        assert!(help.starts_with("What the program does"), "{help}");
        for setting in ["SIMURGH_NATS_URL", "SIMURGH_NAMESPACE", "SIMURGH_LOG_FORMAT", "PROGRAM_LISTEN"] {
            assert!(help.contains(setting), "{help}");
        }
        assert!(matches!(parsed(&["--version"]), Err(Stop::Told(_))));
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = parsed(&["--secret", "hunter2", "--nats-url", "nats://me:hunter2@host:4222"]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.nats.servers(), "nats://host:4222");
    }
}
