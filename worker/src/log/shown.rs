//! Messages as somebody sees them: with the reactions on them, with what they answer, and without what was deleted for
//! oneself.
//!
//! What a message answers is read when the message is shown, and stored nowhere else: once a message is edited or
//! deleted, no answer to it shows what it said before.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use simurgh_protocol::{
    ConversationId, MessageId, Refusal, UserId,
    envelope::Principal,
    record::{Message, Quoted},
};

use crate::{
    Request, Worker,
    access::Roster,
    document::CONCURRENCY,
    store::{Consistency, Item, Key, keys},
};

/// Messages that are looked up because others answer them, at most; what answers more of them is left out of the page.
const LOOKED_UP: usize = 256;

impl Worker {
    /// The messages as who asks sees them, in their order. The last ones are left out where that takes more than is
    /// read at once, which is more than any page takes; one is always there.
    pub(crate) async fn shown_to(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, Refusal> {
        let mut messages = self.with_reactions(request, id, messages).await?;
        if let Principal::User(user) = &request.principal
            && roster.blocked_by.contains(user)
        {
            messages.iter_mut().for_each(|message| keep_own_reactions(message, user));
        }
        let messages = self.with_quotes(request, id, messages).await?;
        self.without_hidden(request, id, messages).await
    }

    /// The messages with what they answer as it is now, in their order. The last ones are left out where too much would
    /// have to be looked up; one is always there.
    pub(crate) async fn with_quotes(
        &self,
        request: &Request,
        id: &ConversationId,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, Refusal> {
        let mut messages = bounded(messages);
        let beside: BTreeMap<MessageId, Quoted> = {
            let wanted: BTreeSet<MessageId> =
                messages.iter().filter_map(|message| message.reply_to_id).collect();
            let there = messages.iter().filter(|message| wanted.contains(&message.id));
            there.map(|message| (message.id, message.quoted())).collect()
        };
        let elsewhere: BTreeSet<MessageId> = messages
            .iter()
            .filter_map(|message| message.reply_to_id)
            .filter(|quoted| !beside.contains_key(quoted))
            .collect();
        let found = elsewhere.into_iter().map(|quoted| self.message(request, id, quoted));
        let found: Vec<_> = stream::iter(found).buffered(CONCURRENCY).try_collect().await?;
        let mut quotes = beside;
        quotes.extend(found.into_iter().flatten().map(|found| {
            let found = found.shown(id);
            (found.id, found.quoted())
        }));
        for message in &mut messages {
            message.reply_to = message.reply_to_id.and_then(|quoted| quotes.get(&quoted).cloned());
        }
        Ok(messages)
    }

    /// The messages without what those say that who asks has deleted for itself.
    pub(crate) async fn without_hidden(
        &self,
        request: &Request,
        id: &ConversationId,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, Refusal> {
        let Principal::User(user) = &request.principal else { return Ok(messages) };
        let shown: BTreeSet<u64> = messages.iter().map(|message| message.seq).collect();
        let quotes = messages.iter().filter_map(|message| message.reply_to.as_ref());
        let quoted: BTreeSet<u64> =
            quotes.map(|quote| quote.seq).filter(|seq| !shown.contains(seq)).collect();
        let mut hidden = self.hidden_among(request, id, user, &shown).await?;
        hidden.extend(self.hidden_among(request, id, user, &quoted).await?);
        Ok(messages.into_iter().map(|message| seen(message, user, &hidden)).collect())
    }

    /// Who has deleted this message for itself.
    pub(crate) async fn hiders(
        &self,
        request: &Request,
        id: &ConversationId,
        seq: u64,
    ) -> Result<Vec<UserId>, Refusal> {
        let items = self.load_whole(request, keys::hiders(id, seq)).await?;
        Ok(items.iter().filter_map(|item| UserId::new(keys::named(&item.key)?).ok()).collect())
    }

    /// Those of these messages that the user has deleted for itself.
    pub(crate) async fn hidden_among(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        seqs: &BTreeSet<u64>,
    ) -> Result<BTreeSet<u64>, Refusal> {
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(BTreeSet::new()) };
        let items: Vec<Item> = if seqs.len() > 1 && last - first + 1 == seqs.len() as u64 {
            // Consecutive: a range costs by what is there, and most messages are hidden from nobody.
            self.load_whole(request, keys::hidden_between(id, user, *first, *last)).await?
        } else {
            let wanted: Vec<Key> = seqs.iter().map(|seq| keys::hidden(id, user, *seq)).collect();
            request.in_time(&self.env)?;
            self.store.get_many(&wanted, Consistency::Strong).await?
        };
        Ok(items.iter().filter_map(|item| item.key.sk.parse().ok()).collect())
    }
}

/// As many of the messages, from the first on, as answer no more others than are looked up.
fn bounded(messages: Vec<Message>) -> Vec<Message> {
    let mut answered = BTreeSet::new();
    messages
        .into_iter()
        .take_while(|message| {
            answered.extend(message.reply_to_id);
            answered.len() <= LOOKED_UP
        })
        .collect()
}

/// Without the reactions of others.
fn keep_own_reactions(message: &mut Message, user: &UserId) {
    for users in message.reactions.iter_mut().flat_map(BTreeMap::values_mut) {
        users.retain(|other| other == user);
    }
    if let Some(reactions) = &mut message.reactions {
        reactions.retain(|_, users| !users.is_empty());
    }
}

/// The message to a user who has deleted these for itself.
fn seen(mut message: Message, user: &UserId, hidden: &BTreeSet<u64>) -> Message {
    let hides = |seq, silent: Option<&UserId>| hidden.contains(&seq) || silent == Some(user);
    if hides(message.seq, message.silent.as_ref()) {
        return message.hide();
    }
    if let Some(quote) = message.reply_to.as_mut().filter(|quote| hides(quote.seq, quote.silent.as_ref())) {
        quote.preview = None;
    }
    message
}
