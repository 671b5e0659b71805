//! The left side of a foreign-key join: changes of its rows become subscriptions (D-108).

use super::wire::{Hash, Instruction, Subscription};
use crate::{
    codec::{Serde, murmur3},
    fault::Result,
    operator::{Children, Context, Dropped, Node, Process},
    record::{Change, Record},
};
use std::{marker::PhantomData, sync::Arc};

/// What the node needs, whatever its types.
pub(crate) struct SendOf<KO, V> {
    pub foreign_key: Serde<KO>,
    pub value: Serde<V>,
    /// True for a left join.
    pub left: bool,
    /// True when a change that finds no right row is answered, too.
    pub answers: bool,
    /// The left table's changes may be out of order (D-130).
    pub versioned: bool,
}

/// The node that subscribes left rows to their foreign keys.
pub(crate) struct Send<K, V, KO, E> {
    pub of: SendOf<KO, V>,
    /// The foreign key of a left row.
    pub extract: Arc<E>,
    pub children: Children<KO, Subscription<K>>,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, KO, E> Process<K, Change<V>> for Send<K, V, KO, E>
where
    K: Clone + 'static,
    V: 'static,
    KO: 'static,
    E: Fn(&K, &V) -> Option<KO>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let (Some(key), Some(change)) = (record.key, record.value) else { return Ok(()) };
        if self.of.versioned && !change.is_latest {
            cx.dropped(Dropped::OutOfOrder);
            return Ok(());
        }
        let foreign_key = |row: &Option<V>| row.as_ref().and_then(|row| (self.extract)(key, row));
        let (old, new) = (foreign_key(&change.old), foreign_key(&change.new));
        let hash = match &change.new {
            Some(row) => Some(murmur3(&self.of.value.to_bytes(row)?)),
            None => None,
        };
        for (to, instruction) in self.instructions(cx, change, old, new)? {
            self.send(cx, &record, key, hash, to.as_ref(), instruction)?;
        }
        Ok(())
    }
}

impl<K: Clone + 'static, V: 'static, KO: 'static, E> Send<K, V, KO, E> {
    /// What is told to which foreign key.
    fn instructions(
        &self,
        cx: &mut dyn Context,
        change: &Change<V>,
        old: Option<KO>,
        new: Option<KO>,
    ) -> Result<Vec<(Option<KO>, Instruction)>> {
        use Instruction::{AnswerAlways, AnswerIfPresent, DeleteAndAnswer, DeleteOnly};
        if self.of.left {
            if change.old.is_none() && change.new.is_none() {
                return Ok(Vec::new());
            }
            let moved = old.is_some() && self.bytes(old.as_ref())? != self.bytes(new.as_ref())?;
            let mut told = Vec::new();
            if moved {
                told.push((old, DeleteOnly));
            }
            told.push((new, AnswerAlways));
            return Ok(told);
        }
        if change.new.is_some() && new.is_none() {
            cx.dropped(Dropped::NullKey);
        }
        Ok(match (old, new) {
            (None, None) => Vec::new(),
            (Some(old), None) => vec![(Some(old), DeleteAndAnswer)],
            (Some(old), Some(new)) if self.bytes(Some(&old))? != self.bytes(Some(&new))? => {
                vec![(Some(old), DeleteOnly), (Some(new), AnswerAlways)]
            }
            (_, Some(new)) => vec![(Some(new), if self.of.answers { AnswerAlways } else { AnswerIfPresent })],
        })
    }

    fn bytes(&self, key: Option<&KO>) -> Result<Option<bytes::Bytes>> {
        key.map(|key| self.of.foreign_key.to_bytes(key)).transpose()
    }

    fn send(
        &self,
        cx: &mut dyn Context,
        record: &Record<'_, K, Change<V>>,
        key: &K,
        hash: Option<Hash>,
        to: Option<&KO>,
        instruction: Instruction,
    ) -> Result<()> {
        let partition = Some(cx.task().partition);
        let subscription = Subscription { hash, instruction, key: key.clone(), partition };
        let Record { timestamp, headers, .. } = *record;
        self.children.forward(cx, Record { key: to, value: Some(&subscription), timestamp, headers })
    }
}

impl<K, V, KO, E> Node for Send<K, V, KO, E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        operator::testkit::{Kit, collect},
    };
    use Instruction::{AnswerAlways, AnswerIfPresent, DeleteAndAnswer, DeleteOnly};

    /// What a change of a row tells to whom: a row is its foreign key, `-` is a row without one.
    fn told(left: bool, old: Option<&str>, new: Option<&str>) -> (Vec<(Option<String>, Instruction)>, usize) {
        told_by(
            SendOf { foreign_key: serdes::string(), value: serdes::string(), left, answers: false, versioned: false },
            old,
            new,
        )
    }

    fn told_by(
        of: SendOf<String, String>,
        old: Option<&str>,
        new: Option<&str>,
    ) -> (Vec<(Option<String>, Instruction)>, usize) {
        let (child, children) = collect();
        let node: Send<String, String, String, _> = Send {
            of,
            extract: Arc::new(|_: &String, row: &String| (row != "-").then(|| row.clone())),
            children,
            takes: PhantomData,
        };
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        let change = Change::new(new.map(str::to_owned), old.map(str::to_owned));
        node.process(&mut kit, Record::new(Some(&key), Some(&change), 5)).unwrap();
        let seen = child.take().into_iter().map(|(to, subscription, at)| {
            let Subscription { hash, instruction, key, partition } = subscription.unwrap();
            assert_eq!((at, key.as_str(), partition), (5, "k", Some(2)));
            assert_eq!(hash, new.map(|row| murmur3(row.as_bytes())));
            (to, instruction)
        });
        (seen.collect(), kit.dropped.len())
    }

    #[test]
    fn d108_an_inner_join_subscribes_to_foreign_keys_that_are_there() {
        let to = |key: &str, instruction| (Some(key.to_owned()), instruction);
        for (old, new, wanted, dropped) in [
            (None, Some("a"), vec![to("a", AnswerIfPresent)], 0),
            (Some("a"), Some("a"), vec![to("a", AnswerIfPresent)], 0),
            (Some("a"), Some("b"), vec![to("a", DeleteOnly), to("b", AnswerAlways)], 0),
            (Some("a"), None, vec![to("a", DeleteAndAnswer)], 0),
            (Some("a"), Some("-"), vec![to("a", DeleteAndAnswer)], 1),
            (Some("-"), Some("a"), vec![to("a", AnswerIfPresent)], 0),
            (None, Some("-"), vec![], 1),
            (Some("-"), None, vec![], 0),
            (None, None, vec![], 0),
        ] {
            assert_eq!(told(false, old, new), (wanted, dropped), "{old:?} to {new:?}");
        }
    }

    #[test]
    fn d108_an_inner_join_may_ask_for_an_answer_each_time() {
        for (old, new) in [(None, "a"), (Some("a"), "a"), (Some("-"), "a")] {
            let text = serdes::string;
            let of = SendOf { foreign_key: text(), value: text(), left: false, answers: true, versioned: false };
            assert_eq!(told_by(of, old, Some(new)), (vec![(Some("a".to_owned()), AnswerAlways)], 0), "{old:?}");
        }
    }

    #[test]
    fn d108_a_left_join_asks_for_an_answer_each_time() {
        let to = |key: &str, instruction| (Some(key.to_owned()), instruction);
        for (old, new, wanted) in [
            (None, Some("a"), vec![to("a", AnswerAlways)]),
            (Some("a"), Some("a"), vec![to("a", AnswerAlways)]),
            (Some("a"), Some("b"), vec![to("a", DeleteOnly), to("b", AnswerAlways)]),
            (Some("a"), None, vec![to("a", DeleteOnly), (None, AnswerAlways)]),
            (Some("a"), Some("-"), vec![to("a", DeleteOnly), (None, AnswerAlways)]),
            (None, Some("-"), vec![(None, AnswerAlways)]),
            (None, None, vec![]),
        ] {
            assert_eq!(told(true, old, new), (wanted, 0), "{old:?} to {new:?}");
        }
    }
}
