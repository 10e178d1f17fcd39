//! Finds the table, or makes it.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, ProvideErrorMetadata},
    operation::{
        create_table::{CreateTableError, builders::CreateTableFluentBuilder},
        describe_table::DescribeTableError,
    },
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
        TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use simurgh_env::Env;

use super::{super::StoreError, DynamoConfig, error, schema::Definition};

/// How long a new table is waited for. AWS takes 5 to 20 s.
const CREATION_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two looks at it is drawn from zero to this.
const PAUSE: Duration = Duration::from_millis(500);

/// Finds the table active and with the right key, or makes it so where `config` allows that.
pub(super) async fn ensure(client: &Client, config: &DynamoConfig, env: &Env) -> Result<(), StoreError> {
    let definition = Definition::read().map_err(|error| unavailable(config, error))?;
    let table = describe(client, config).await?;
    if table.is_none() && config.create_table {
        create(client, config, &definition).await?;
    }
    let wait = async {
        loop {
            if let Some(table) = describe(client, config).await? {
                match table.table_status() {
                    Some(TableStatus::Active | TableStatus::Updating) => return Ok(table),
                    Some(TableStatus::Creating) => {}
                    other => return Err(unavailable(config, format!("is {other:?}"))),
                }
            } else if !config.create_table {
                return Err(unavailable(config, "does not exist, and is not to be created"));
            }
            tokio::time::sleep(env.jitter(PAUSE)).await;
        }
    };
    let timed_out = |_| Err(unavailable(config, format!("is not active after {CREATION_TIMEOUT:?}")));
    let table = tokio::time::timeout(CREATION_TIMEOUT, wait).await.unwrap_or_else(timed_out)?;
    check_key(config, &definition, &table)?;
    if config.create_table { expire(client, config, &definition).await } else { Ok(()) }
}

fn unavailable(config: &DynamoConfig, what: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("table {}: {what}", config.table))
}

async fn describe(client: &Client, config: &DynamoConfig) -> Result<Option<TableDescription>, StoreError> {
    match client.describe_table().table_name(&config.table).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) => match error.as_service_error() {
            Some(DescribeTableError::ResourceNotFoundException(_)) => Ok(None),
            _ => Err(error::of("DescribeTable", &error)),
        },
    }
}

async fn create(client: &Client, config: &DynamoConfig, definition: &Definition) -> Result<(), StoreError> {
    let request = client.create_table().table_name(&config.table);
    let request = defined(request, definition).map_err(|error| unavailable(config, error))?;
    let Err(error) = request.send().await else { return Ok(()) };
    match error.as_service_error() {
        // Another worker is at it.
        Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
        _ => Err(error::of("CreateTable", &error)),
    }
}

fn defined(
    mut request: CreateTableFluentBuilder,
    definition: &Definition,
) -> Result<CreateTableFluentBuilder, BuildError> {
    for attribute in &definition.attribute_definitions {
        request = request.attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(&attribute.attribute_name)
                .attribute_type(ScalarAttributeType::from(attribute.attribute_type.as_str()))
                .build()?,
        );
    }
    for part in &definition.key_schema {
        request = request.key_schema(
            KeySchemaElement::builder()
                .attribute_name(&part.attribute_name)
                .key_type(KeyType::from(part.key_type.as_str()))
                .build()?,
        );
    }
    Ok(request.billing_mode(BillingMode::from(definition.billing_mode.as_str())))
}

/// Writes to a table with another key would all fail: it is another program's.
fn check_key(
    config: &DynamoConfig,
    definition: &Definition,
    table: &TableDescription,
) -> Result<(), StoreError> {
    let wanted = definition.key_schema.iter().map(|part| (&*part.attribute_name, &*part.key_type));
    let found = table.key_schema().iter().map(|part| (part.attribute_name(), part.key_type().as_str()));
    if wanted.eq(found) {
        Ok(())
    } else {
        Err(unavailable(config, "has another key than worker/table.json says"))
    }
}

/// Switches expiry on, where it is not: a table's creation cannot do both, and may have been cut off in between.
async fn expire(client: &Client, config: &DynamoConfig, definition: &Definition) -> Result<(), StoreError> {
    let wanted = &definition.time_to_live_specification;
    let answer = client.describe_time_to_live().table_name(&config.table).send().await;
    let answer = answer.map_err(|error| error::of("DescribeTimeToLive", &error))?;
    let status = answer.time_to_live_description.and_then(|description| description.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) == wanted.enabled {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .attribute_name(&wanted.attribute_name)
        .enabled(wanted.enabled)
        .build()
        .map_err(|error| unavailable(config, error))?;
    let request = client.update_time_to_live().table_name(&config.table);
    let Err(error) = request.time_to_live_specification(specification).send().await else { return Ok(()) };
    // Another worker did it in the meantime ("TimeToLive is already enabled").
    let done = error.message().is_some_and(|message| message.contains("already enabled"));
    if done { Ok(()) } else { Err(error::of("UpdateTimeToLive", &error)) }
}
