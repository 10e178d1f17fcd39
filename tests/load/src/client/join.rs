//! A client's joins, tried again as a stock client does.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use tokio::time::{sleep, timeout};

use super::{Client, PATIENCE};

/// The joins' references.
const USER_JOIN: u64 = 1;
const CONVERSATION_JOIN: u64 = 2;
/// How long a stock client waits before it joins again, in seconds; the last holds for all further tries.
const REJOIN_S: [u64; 4] = [1, 2, 5, 10];
/// Joins of one topic on one socket, at most.
const TRIES: usize = 20;

impl Client {
    /// Joins its topics.
    pub(super) fn join_all(&self) {
        self.join(USER_JOIN);
        self.join(CONVERSATION_JOIN);
    }

    fn join(&self, name: u64) {
        let topic = if name == USER_JOIN { &self.joins.user } else { &self.joins.conversation };
        if let Some(topic) = topic {
            self.send(&format!(r#"["{name}","{name}","{topic}","phx_join",{{}}]"#));
        }
    }

    /// Waits until every join is answered ok; one that is refused is tried again as a stock client does.
    ///
    /// # Errors
    /// Where one is refused again and again, or the socket ends first.
    pub async fn joined(&self, failures: &RefCell<BTreeMap<String, u64>>) -> anyhow::Result<()> {
        let wanted = usize::from(self.joins.user.is_some()) + usize::from(self.joins.conversation.is_some());
        for tried in 0..TRIES {
            let answered = async {
                while self.joined.get() + self.refused.borrow().len() < wanted && !self.ended.get() {
                    self.changed.notified().await;
                }
            };
            timeout(PATIENCE, answered).await.context("a join was not answered")?;
            let refused = self.refused.take();
            if self.ended.get() {
                bail!("the socket ended in its joins");
            }
            if refused.is_empty() {
                return Ok(());
            }
            *failures.borrow_mut().entry("a join was refused".to_owned()).or_default() +=
                refused.len() as u64;
            sleep(Duration::from_secs(REJOIN_S.get(tried).or(REJOIN_S.last()).copied().unwrap_or_default()))
                .await;
            refused.into_iter().for_each(|name| self.join(name));
        }
        bail!("a join was refused {TRIES} times")
    }
}
