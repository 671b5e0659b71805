//! The right side of a foreign-key join, for changes of right rows: each subscriber hears of them (D-109).

use super::wire::{Response, Subscription, subscription_row};
use crate::{
    codec::Serde,
    fault::Result,
    operator::{Children, Context, Dropped, Node, Process, join_store::decode},
    record::{Change, Record, StoreIx},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Subscriptions that are read at once, so that a right row with many subscribers does not bring all of them into memory.
const ROWS_MAX: usize = 1_000;

/// The node that tells subscribers of a right row's change.
pub(crate) struct Notify<K, KO, VO> {
    pub store: StoreIx,
    pub foreign_key: Serde<KO>,
    pub subscription: Serde<Subscription<K>>,
    /// The right table's changes may be out of order (D-130).
    pub versioned: bool,
    pub children: Children<K, Response<VO>>,
}

impl<K: 'static, KO: 'static, VO: Clone + 'static> Process<KO, Change<VO>> for Notify<K, KO, VO> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, KO, Change<VO>>) -> Result<()> {
        let Some(change) = record.value else { return Ok(()) };
        let Some(foreign_key) = record.key else {
            cx.dropped(Dropped::NullKey);
            return Ok(());
        };
        if self.versioned && !change.is_latest {
            cx.dropped(Dropped::OutOfOrder);
            return Ok(());
        }
        let prefix = subscription_row(&self.foreign_key.to_bytes(foreign_key)?, &[]);
        let mut from = prefix.to_vec();
        loop {
            let mut found: Vec<Bytes> = Vec::new();
            cx.store(self.store).scan(&from.clone(), None, false, &mut |id, row| {
                if !id.starts_with(&prefix) || found.len() == ROWS_MAX {
                    return ControlFlow::Break(());
                }
                from = [id, &[0]].concat();
                found.push(row.value.into());
                ControlFlow::Continue(())
            })?;
            for bytes in &found {
                let Subscription { hash, key, partition, .. } = decode(cx, self.store, &self.subscription, bytes)?;
                let response = Response { hash, value: change.new.clone(), partition };
                let Record { timestamp, headers, .. } = record;
                self.children.forward(cx, Record { key: Some(&key), value: Some(&response), timestamp, headers })?;
            }
            if found.len() < ROWS_MAX {
                return Ok(());
            }
        }
    }
}

impl<K, KO, VO> Node for Notify<K, KO, VO> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        operator::{
            foreign_key::{Receive, subscriptions, wire::Instruction},
            testkit::{Kit, collect},
        },
    };

    /// D-109.
    #[test]
    fn every_subscriber_hears_of_a_change_and_nobody_else() {
        let (_, children) = collect();
        let receive = Receive {
            store: StoreIx(0),
            foreign_key: serdes::string(),
            key: serdes::i64(),
            subscription: subscriptions(serdes::i64()),
            children,
        };
        let (child, children) = collect();
        let notify: Notify<i64, String, i64> = Notify {
            store: StoreIx(0),
            foreign_key: serdes::string(),
            subscription: subscriptions(serdes::i64()),
            versioned: false,
            children,
        };
        let mut kit = Kit::key_value();
        let subscribe = |kit: &mut Kit, foreign_key: &str, key: i64, instruction| {
            let subscription = Subscription { hash: None, instruction, key, partition: Some(3) };
            receive.process(kit, Record::new(Some(&foreign_key.to_owned()), Some(&subscription), 1)).unwrap();
        };
        let many = 2 * ROWS_MAX as i64;
        for key in 0..many {
            subscribe(&mut kit, "a", key, Instruction::AnswerAlways);
        }
        subscribe(&mut kit, "ab", 1, Instruction::AnswerAlways);
        subscribe(&mut kit, "a", 1, Instruction::DeleteOnly);
        let change = Change::new(Some(9), None);
        notify.process(&mut kit, Record::new(Some(&"a".to_owned()), Some(&change), 7)).unwrap();
        let heard: Vec<_> = child.take().into_iter().map(|(key, _, _)| key.unwrap()).collect();
        assert_eq!(heard, (0..many).filter(|key| *key != 1).collect::<Vec<_>>());
        let response = Response { hash: None, value: Some(9), partition: Some(3) };
        notify.process(&mut kit, Record::new(Some(&"ab".to_owned()), Some(&change), 8)).unwrap();
        assert_eq!(child.take(), [(Some(1), Some(response), 8)]);
        notify.process(&mut kit, Record::new(None, Some(&change), 8)).unwrap();
        assert_eq!(kit.dropped, [Dropped::NullKey]);
    }
}
