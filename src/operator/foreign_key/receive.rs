//! The right side of a foreign-key join, for subscriptions: they are kept, and answered.

use super::wire::{Instruction, Response, Subscription, subscription_row};
use crate::{
    codec::Serde,
    fault::Result,
    operator::{Children, Context, Dropped, Node, Process, getter::Getter},
    record::{Record, StoreIx},
};
use std::rc::Rc;

/// The node that writes subscriptions down. One without a foreign key passes on to be answered with null; only a left
/// join sends such.
pub(crate) struct Receive<K, KO> {
    pub store: StoreIx,
    pub foreign_key: Serde<KO>,
    pub key: Serde<K>,
    pub subscription: Serde<Subscription<K>>,
    pub children: Children<KO, Subscription<K>>,
}

impl<K: 'static, KO: 'static> Process<KO, Subscription<K>> for Receive<K, KO> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, KO, Subscription<K>>) -> Result<()> {
        let Some(subscription) = record.value else { return Ok(()) };
        match record.key {
            None if subscription.instruction != Instruction::AnswerAlways => {
                cx.dropped(Dropped::NullKey);
                return Ok(());
            }
            None => {}
            Some(foreign_key) => {
                let key = self.key.to_bytes(&subscription.key)?;
                let row = subscription_row(&self.foreign_key.to_bytes(foreign_key)?, &key);
                let value = match subscription.instruction {
                    Instruction::DeleteOnly | Instruction::DeleteAndAnswer => None,
                    Instruction::AnswerAlways | Instruction::AnswerIfPresent => {
                        Some(self.subscription.to_bytes(subscription)?)
                    }
                };
                cx.store(self.store).put_with_headers(row, value, record.timestamp, record.headers)?;
            }
        }
        self.children.forward(cx, record)
    }
}

impl<K, KO> Node for Receive<K, KO> {}

/// The node that answers a subscription with the right row of the moment.
pub(crate) struct Answer<K, KO, VO> {
    pub right: Rc<dyn Getter<KO, VO>>,
    pub children: Children<K, Response<VO>>,
}

impl<K, KO, VO> Process<KO, Subscription<K>> for Answer<K, KO, VO> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, KO, Subscription<K>>) -> Result<()> {
        let Some(Subscription { hash, instruction, key, partition }) = record.value else { return Ok(()) };
        let found = match record.key {
            Some(foreign_key) => self.right.get(cx, foreign_key)?,
            None => None,
        };
        // The later of subscription and right row (D-110), even where the row is not told.
        let timestamp = found.as_ref().map_or(record.timestamp, |(_, at)| record.timestamp.max(*at));
        let value = match instruction {
            Instruction::DeleteOnly => return Ok(()),
            Instruction::AnswerIfPresent if found.is_none() => return Ok(()),
            Instruction::DeleteAndAnswer => None,
            Instruction::AnswerAlways | Instruction::AnswerIfPresent => found.map(|(row, _)| row),
        };
        let response = Response { hash: *hash, value, partition: *partition };
        let headers = record.headers;
        self.children.forward(cx, Record { key: Some(key), value: Some(&response), timestamp, headers })
    }
}

impl<K, KO, VO> Node for Answer<K, KO, VO> {}
