//! The promises of the port, as tests that every implementation passes. A case takes a [`World`] and is named after
//! the promise; [`contract!`] makes a test of each.

use std::time::Duration;

use bytes::Bytes;
use simurgh_protocol::{ConversationId, UserId};
use tokio::time::timeout;

use crate::{Delivery, Key, SharedBus, Subject, Subscription, subject, subject::Subjects};

pub(crate) mod kept;
pub(crate) mod keys;
pub(crate) mod messages;

/// One backplane.
pub(crate) trait World {
    /// Another connection to it, which stands. The buckets are made.
    async fn connect(&self) -> SharedBus;

    /// Ends the connections for a moment; where `loses_buckets`, the buckets too (keys may be lost anyway).
    async fn outage(&mut self, loses_buckets: bool);

    /// What was kept of what users missed: subjects and texts, the oldest first.
    async fn kept(&self) -> Vec<(String, String)>;
}

/// Tests for all promises: the attribute of each test, and how a [`World`] is made.
macro_rules! contract {
    ($attribute:meta, $world:expr) => {
        contract! { @cases $attribute, $world, messages:
            messages_arrive_in_the_order_of_their_publisher
            each_subscriber_gets_each_message
            one_of_a_queue_group_gets_each_message
            nothing_arrives_once_a_subscription_is_dropped
            interest_is_known_when_subscribe_returns
            a_full_subscription_drops_the_newest_and_says_so
            each_request_gets_its_own_answer
            a_request_that_nobody_listens_to_fails_at_once
            a_request_without_an_answer_times_out_and_a_late_answer_harms_nobody
            a_payload_is_taken_up_to_the_bound_and_refused_beyond
            ids_with_dots_and_at_signs_do_not_mix
            subscriptions_outlive_an_outage_and_the_return_is_noticed
        }
        contract! { @cases $attribute, $world, keys:
            a_key_reads_back_on_any_connection_with_its_revision
            a_write_needs_the_revision_that_it_names
            of_many_who_create_a_key_one_wins
            of_many_who_update_a_revision_one_wins
            a_removed_key_is_gone_and_can_be_created_again
            a_removal_needs_the_revision_that_it_names
            many_are_read_by_wildcard_once_each_and_in_order
            many_are_read_by_1500_filters
            many_are_read_by_one_filter_that_matches_thousands
            nothing_is_read_where_nothing_matches
            keys_of_ids_with_dots_and_at_signs_read_back
            a_lease_lapses_unless_it_is_renewed
            a_value_is_taken_up_to_the_bound_and_refused_beyond
            buckets_are_apart_and_made_once
            buckets_that_were_lost_are_made_again
        }
        contract! { @cases $attribute, $world, kept:
            what_is_kept_is_there_by_user_and_in_order
            what_has_a_name_is_kept_once
            of_one_user_the_oldest_go_first
            what_is_kept_outlives_an_outage
            what_is_kept_has_a_bound
        }
    };
    (@cases $attribute:meta, $world:expr, $module:ident: $($name:ident)+) => {
        mod $module {
            $(
                #[$attribute]
                async fn $name() {
                    let mut world = $world.await;
                    $crate::contract::$module::$name(&mut world).await;
                }
            )+
        }
    };
}

/// A subject like those in use.
pub(crate) fn conversation(id: &str) -> Subject {
    Subjects::new("test").conversation(&ConversationId::new(id).unwrap())
}

fn user_key(user: &str, gateway: &str) -> Key {
    subject::user_key(&UserId::new(user).unwrap(), gateway)
}

fn bytes(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// The next message, as text; fails after 5 s.
pub(crate) async fn next(subscription: &mut Subscription) -> String {
    text(&next_delivery(subscription).await)
}

async fn next_delivery(subscription: &mut Subscription) -> Delivery {
    timeout(Duration::from_secs(5), subscription.next()).await.expect("no message in 5 s").expect("closed")
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.payload.to_vec()).unwrap()
}

/// Waits until what `from` published has reached `to`: it is ahead of the answer to a later round trip.
async fn settle(from: &SharedBus, to: &SharedBus) {
    from.flush().await.unwrap();
    to.flush().await.unwrap();
}
