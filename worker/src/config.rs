//! Settings of the worker (contract section 7): groups that other binaries flatten, and the binary's own.

use std::{net::SocketAddr, time::Duration};

use clap::{
    Args, Parser,
    builder::{RangedU64ValueParser, ValueParser},
};
use simurgh_protocol::limits;
use simurgh_service::config::{BadSetting, LogArgs, NatsArgs, Settings, duration, switch};
use url::Url;

use crate::{Limits, store::dynamo::DynamoConfig};

/// Content that an item (400 KB) holds. What JSON makes larger than that, six bytes for a control character, is refused.
const MAX_CONTENT_BYTES: u64 = 256 * 1024;
/// Metadata beside such content.
const MAX_METADATA_BYTES: u64 = 32 * 1024;
/// A roster is read and told as a whole.
const MAX_MEMBERS: u64 = 4_096;
/// With the bound on a message's reactions, what an item holds.
const MAX_REACTIONS: u64 = 256;
/// What is read in one go.
pub(crate) const MAX_LISTED: u64 = 10_000;

fn at_most(most: u64) -> ValueParser {
    RangedU64ValueParser::<usize>::new().range(1..=most).into()
}

/// The table that everything is stored in.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct TableArgs {
    /// DynamoDB table
    #[arg(long, env = "SIMURGH_TABLE", value_name = "NAME", default_value = "simurgh")]
    pub table: String,

    /// Address of a DynamoDB that is not AWS's, such as http://127.0.0.1:8000
    #[arg(long, env = "SIMURGH_DYNAMODB_ENDPOINT", value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,

    /// Creates the table where it is missing
    #[arg(
        long,
        env = "SIMURGH_CREATE_TABLE",
        value_name = "BOOL",
        value_parser = switch,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub create_table: bool,
}

impl TableArgs {
    /// What the fields' parsers do not see.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !(3..=255).contains(&self.table.len()) || !self.table.bytes().all(letters) {
            return Err(BadSetting::new("SIMURGH_TABLE", "must be 3 to 255 characters of A-Z a-z 0-9 _ - ."));
        }
        let problem = self.dynamodb_endpoint.as_deref().and_then(|text| match Url::parse(text) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) => None,
            Ok(_) => Some("neither http nor https".to_owned()),
            Err(error) => Some(error.to_string()),
        });
        problem.map_or(Ok(()), |problem| {
            let problem = format!("must be a URL such as http://127.0.0.1:8000 ({problem})");
            Err(BadSetting::new("SIMURGH_DYNAMODB_ENDPOINT", problem))
        })
    }

    /// What the store needs.
    #[must_use]
    pub fn store(&self) -> DynamoConfig {
        DynamoConfig {
            table: self.table.clone(),
            endpoint: self.dynamodb_endpoint.clone(),
            create_table: self.create_table,
        }
    }
}

/// What may be how large (contract section 5).
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Bytes of a message's content
    #[arg(long, env = "SIMURGH_MAX_CONTENT_BYTES", value_name = "BYTES", default_value_t = limits::CONTENT_BYTES,
        value_parser = at_most(MAX_CONTENT_BYTES))]
    pub max_content_bytes: usize,

    /// Bytes of a message's or a conversation's metadata
    #[arg(long, env = "SIMURGH_MAX_METADATA_BYTES", value_name = "BYTES", default_value_t = limits::METADATA_BYTES,
        value_parser = at_most(MAX_METADATA_BYTES))]
    pub max_metadata_bytes: usize,

    /// Members of a group
    #[arg(long, env = "SIMURGH_MAX_MEMBERS", value_name = "COUNT", default_value_t = limits::MEMBERS,
        value_parser = at_most(MAX_MEMBERS))]
    pub max_members: usize,

    /// Distinct reactions on a message
    #[arg(long, env = "SIMURGH_MAX_REACTIONS", value_name = "COUNT", default_value_t = limits::REACTIONS,
        value_parser = at_most(MAX_REACTIONS))]
    pub max_reactions: usize,

    /// How long after it was sent a message may be edited; 0s: never
    #[arg(long, env = "SIMURGH_EDIT_WINDOW", value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub edit_window: Duration,

    /// Contacts of a user
    #[arg(long, env = "SIMURGH_MAX_CONTACTS", value_name = "COUNT", default_value_t = limits::CONTACTS,
        value_parser = at_most(MAX_LISTED))]
    pub max_contacts: usize,

    /// Conversations of a user
    #[arg(long, env = "SIMURGH_MAX_CONVERSATIONS", value_name = "COUNT", default_value_t = limits::CONVERSATIONS,
        value_parser = at_most(MAX_LISTED))]
    pub max_conversations: usize,
}

impl LimitArgs {
    /// As the rules take them. What push services are told is a setting of the backplane's.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            content_bytes: self.max_content_bytes,
            metadata_bytes: self.max_metadata_bytes,
            members: self.max_members,
            reactions: self.max_reactions,
            edit_window: self.edit_window,
            contacts: self.max_contacts,
            conversations: self.max_conversations,
            ..Limits::default()
        }
    }
}

/// Simurgh's worker: applies the rules to the store, and holds nothing
#[derive(Clone, Debug, Parser)]
#[command(name = "simurgh-worker", version)]
pub struct Config {
    /// Address for operators: health
    #[arg(
        long,
        env = "SIMURGH_WORKER_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:4002",
        help_heading = "Addresses"
    )]
    pub worker_listen: SocketAddr,

    /// The store.
    #[command(flatten)]
    pub table: TableArgs,

    /// Limits.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// The backplane.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
}

impl Settings for Config {
    fn validate(&self) -> Result<(), BadSetting> {
        self.table.validate()?;
        self.nats.validate()
    }
}

#[cfg(test)]
mod tests {
    use simurgh_service::config::{Stop, parse_from};

    use super::*;

    fn parsed(args: &[&str]) -> Result<Config, Stop> {
        parse_from(std::iter::once("simurgh-worker").chain(args.iter().copied()))
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let config = parsed(&[]).unwrap();
        assert_eq!(config.worker_listen.to_string(), "0.0.0.0:4002");
        assert_eq!((config.table.table.as_str(), config.table.create_table), ("simurgh", false));
        let (given, wanted) = (config.limits.limits(), Limits::default());
        assert_eq!(format!("{given:?}"), format!("{wanted:?}"));
    }

    #[test]
    fn a_bad_setting_is_one_line_that_names_it() {
        for (args, setting) in [
            (["--table", "a b"], "SIMURGH_TABLE"),
            (["--dynamodb-endpoint", "localhost"], "SIMURGH_DYNAMODB_ENDPOINT"),
            (["--dynamodb-endpoint", "http://127.0.0.1:99999"], "SIMURGH_DYNAMODB_ENDPOINT"),
            (["--dynamodb-endpoint", "http://a b"], "SIMURGH_DYNAMODB_ENDPOINT"),
            (["--dynamodb-endpoint", "ftp://127.0.0.1"], "SIMURGH_DYNAMODB_ENDPOINT"),
            (["--nats-url", "nats://127.0.0.1:notaport"], "SIMURGH_NATS_URL"),
            (["--max-content-bytes", "0"], "SIMURGH_MAX_CONTENT_BYTES"),
            (["--max-content-bytes", "100000000"], "SIMURGH_MAX_CONTENT_BYTES"),
            (["--max-members", "many"], "SIMURGH_MAX_MEMBERS"),
            (["--edit-window", "24"], "SIMURGH_EDIT_WINDOW"),
            (["--worker-listen", "here"], "SIMURGH_WORKER_LISTEN"),
        ] {
            let Err(Stop::Bad(line)) = parsed(&args) else { panic!("{args:?} was taken") };
            assert!(line.contains(setting) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn the_table_can_be_created_by_a_flag_alone() {
        assert!(parsed(&["--create-table"]).unwrap().table.create_table);
        assert!(!parsed(&["--create-table=false"]).unwrap().table.create_table);
    }
}
