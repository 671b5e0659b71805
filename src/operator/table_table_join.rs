//! Tables joined by their keys (D-98..D-102): a change of either side looks up the other.

use super::{
    Children, Context, Dropped, Node, Process,
    getter::Getter,
    rows::KeyRows,
    table_store::{Update, Updates},
};
use crate::{
    fault::Result,
    record::{Change, Record, Timestamp},
};
use std::{marker::PhantomData, rc::Rc, sync::Arc};

/// Which sides must have a row for the join to have one; seen from the side whose change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The side of the change.
    pub mine: bool,
    /// The side that is looked up.
    pub other: bool,
}

impl Needs {
    /// The same join seen from the other side.
    pub fn reversed(self) -> Self {
        Self { mine: self.other, other: self.mine }
    }

    /// The row of the join, from the rows of both sides.
    fn join<V, VO, VR>(
        self,
        mine: Option<&V>,
        other: Option<&VO>,
        joiner: &impl Fn(Option<&V>, Option<&VO>) -> Option<VR>,
    ) -> Option<VR> {
        let absent = match (mine, other) {
            (None, None) => true,
            (None, Some(_)) => self.mine,
            (Some(_), None) => self.other,
            (Some(_), Some(_)) => false,
        };
        if absent { None } else { joiner(mine, other) }
    }
}

/// The node of one side of a table-table join.
pub(crate) struct TableTableJoin<K, V, VO, VR, F> {
    pub other: Rc<dyn Getter<K, VO>>,
    /// Takes the row of this side first.
    pub joiner: Arc<F>,
    pub needs: Needs,
    pub sends_old: bool,
    /// This side's changes may be out of order (D-130).
    pub versioned: bool,
    pub children: Children<K, Change<VR>>,
    pub takes: PhantomData<fn(V)>,
}

impl<K, V, VO, VR, F> Process<K, Change<V>> for TableTableJoin<K, V, VO, VR, F>
where
    F: Fn(Option<&V>, Option<&VO>) -> Option<VR>,
{
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let Some(change) = record.value else { return Ok(()) };
        let Some(key) = record.key else {
            cx.dropped(Dropped::NullKey);
            return Ok(());
        };
        if self.versioned && !change.is_latest {
            cx.dropped(Dropped::OutOfOrder);
            return Ok(());
        }
        let found = self.other.get(cx, key)?;
        if found.is_none() && (self.needs.other || (change.new.is_none() && change.old.is_none())) {
            return Ok(());
        }
        let (other, at) = found.as_ref().map_or((None, record.timestamp), |(row, at)| (Some(row), *at));
        let join = |mine: &Option<V>| self.needs.join(mine.as_ref(), other, &*self.joiner);
        let new = join(&change.new);
        let old = if self.sends_old { join(&change.old) } else { None };
        let change = Change::new(new, old);
        self.children.forward(cx, record.with_value(Some(&change)).with_timestamp(record.timestamp.max(at)))
    }
}

impl<K, V, VO, VR, F> Node for TableTableJoin<K, V, VO, VR, F> {}

/// The node where the changes of both sides meet; it keeps the rows, where they are kept.
pub(crate) enum TableJoinMerge<K, V> {
    /// Keeps rows.
    Stored(Updates<K, V, KeyRows<K>>),
    /// Keeps none.
    Passing(Children<K, Change<V>>),
}

impl<K: 'static, V: Clone + 'static> Process<K, Change<V>> for TableJoinMerge<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        match self {
            Self::Passing(children) => children.forward(cx, record),
            Self::Stored(updates) => {
                let (Some(key), Some(change)) = (record.key, record.value) else { return Ok(()) };
                let row = updates.table.rows.0.to_bytes(key)?;
                let Record { timestamp, headers, .. } = record;
                let update =
                    Update { new: change.new.clone(), old: change.old.clone(), timestamp, at: timestamp, headers };
                updates.put(cx, row, key, update)
            }
        }
    }
}

impl<K: 'static, V: 'static> Node for TableJoinMerge<K, V> {
    fn flush(&self, cx: &mut dyn Context) -> Result<()> {
        match self {
            Self::Stored(updates) => updates.flush(cx),
            Self::Passing(_) => Ok(()),
        }
    }
}

/// Rows of a join that keeps none itself.
pub(crate) struct JoinGetter<K, V, VO, F> {
    pub this: Rc<dyn Getter<K, V>>,
    pub other: Rc<dyn Getter<K, VO>>,
    pub joiner: Arc<F>,
    pub needs: Needs,
}

impl<K, V, VO, VR, F> Getter<K, VR> for JoinGetter<K, V, VO, F>
where
    F: Fn(Option<&V>, Option<&VO>) -> Option<VR>,
{
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(VR, Timestamp)>> {
        let this = self.this.get(cx, key)?;
        if this.is_none() && self.needs.mine {
            return Ok(None);
        }
        let other = self.other.get(cx, key)?;
        let times = [this.as_ref().map(|row| row.1), other.as_ref().map(|row| row.1)];
        let joined = self.needs.join(this.as_ref().map(|row| &row.0), other.as_ref().map(|row| &row.0), &*self.joiner);
        Ok(joined.zip(times.into_iter().flatten().max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::testkit::{Kit, collect, updates};

    const INNER: Needs = Needs { mine: true, other: true };
    const LEFT: Needs = Needs { mine: true, other: false };
    const OUTER: Needs = Needs { mine: false, other: false };

    fn pair(mine: Option<&i64>, other: Option<&i64>) -> Option<String> {
        Some(format!("{mine:?}|{other:?}"))
    }

    type Told = Vec<(Option<String>, Option<String>, i64)>;

    /// What a side tells of the changes nothing > 1 > nothing, with the other side's row absent or 7 at time 9.
    fn told(needs: Needs, other: bool) -> Told {
        let (child, children) = collect();
        let (_, rows) = collect();
        let rows = updates(false, false, rows);
        let (mut kit, key) = (Kit::key_value(), "k".to_owned());
        if other {
            let update =
                Update { new: Some(7), old: None, timestamp: 9, at: 9, headers: crate::record::Headers::none() };
            rows.put(&mut kit, "k".into(), &key, update).unwrap();
        }
        let node: TableTableJoin<String, i64, i64, String, _> = TableTableJoin {
            other: Rc::new(rows.table),
            joiner: Arc::new(pair),
            needs,
            sends_old: true,
            versioned: true,
            children,
            takes: PhantomData,
        };
        for (new, old, at) in [(Some(1), None, 5), (None, Some(1), 12), (None, None, 13)] {
            node.process(&mut kit, Record::new(Some(&key), Some(&Change::new(new, old)), at)).unwrap();
        }
        node.process(&mut kit, Record::new(None, Some(&Change::new(Some(1), None)), 5)).unwrap();
        let stale = Change { is_latest: false, ..Change::new(Some(1), None) };
        node.process(&mut kit, Record::new(Some(&key), Some(&stale), 5)).unwrap();
        assert_eq!(kit.dropped, [Dropped::NullKey, Dropped::OutOfOrder]);
        child.take().into_iter().map(|(_, change, at)| change.map(|c| (c.new, c.old, at)).unwrap()).collect()
    }

    #[test]
    fn d98_to_d102_each_kind_of_join_needs_its_sides() {
        let (both, mine) = (Some("Some(1)|Some(7)".to_owned()), Some("Some(1)|None".to_owned()));
        let other = Some("None|Some(7)".to_owned());
        let with_row = vec![(both.clone(), None, 9), (None, both.clone(), 12), (None, None, 13)];
        assert_eq!(told(INNER, true), with_row);
        assert_eq!(told(INNER, false), []);
        assert_eq!(told(LEFT, true), with_row);
        assert_eq!(told(LEFT, false), [(mine.clone(), None, 5), (None, mine.clone(), 12)]);
        let from_the_right =
            [(both.clone(), other.clone(), 9), (other.clone(), both.clone(), 12), (other.clone(), other.clone(), 13)];
        assert_eq!(told(LEFT.reversed(), true), from_the_right);
        assert_eq!(told(LEFT.reversed(), false), []);
        assert_eq!(told(OUTER, true), from_the_right);
        assert_eq!(told(OUTER, false), [(mine.clone(), None, 5), (None, mine, 12)]);
    }
}
