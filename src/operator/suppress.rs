//! Holds changes of a table back until enough time has passed (D-145..D-150).

use super::{Children, Context, Node, Process, TimeSlot, getter::Getter};
use crate::{
    codec::{Serde, buffer::Buffered},
    fault::{Fault, Result},
    record::{Change, NO_TIMESTAMP, Record, StoreIx, Timestamp},
};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::ControlFlow,
    rc::Rc,
    sync::Arc,
};

/// What a full buffer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The oldest rows go before their time.
    Emit,
    /// The worker stops.
    ShutDown,
}

/// How much a buffer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub records: Option<usize>,
    pub bytes: Option<usize>,
    pub full: Full,
}

/// The time that a key waits by, where it isn't that of the record.
pub(crate) type TimeOf<K> = Arc<dyn Fn(&K) -> Timestamp + Send + Sync>;

/// The store of a suppressed table, typed.
pub(crate) struct BufferStore<K, V> {
    pub store: StoreIx,
    pub keys: Serde<K>,
    pub values: Serde<V>,
}

impl<K: 'static, V: 'static> BufferStore<K, V> {
    fn get(&self, cx: &mut dyn Context, row: &[u8]) -> Result<Option<Buffered>> {
        let found = cx.store(self.store).get(row)?;
        found.map(|row| Buffered::decode(&row.value)).transpose().map_err(|fault| {
            let name = &cx.store(self.store).spec().name;
            fault.with_remedy(crate::fault::Remedy::Stop).at(format!("store {name}"))
        })
    }

    fn bytes(&self, value: Option<&V>) -> Result<Option<Bytes>> {
        value.map(|value| self.values.to_bytes(value)).transpose()
    }

    fn value(&self, bytes: Option<&Bytes>) -> Result<Option<V>> {
        bytes.map(|bytes| self.values.decode(bytes)).transpose()
    }
}

/// The rows of a buffer in the order of their times; made of the store, from which it can be made again.
#[derive(Default)]
struct Order {
    /// Time and size of each row.
    rows: BTreeMap<Bytes, (Timestamp, usize)>,
    by_time: BTreeMap<(Timestamp, Bytes), ()>,
    bytes: usize,
}

impl Order {
    fn set(&mut self, row: Bytes, time: Timestamp, size: usize) {
        self.remove(&row);
        self.bytes += size;
        self.by_time.insert((time, row.clone()), ());
        self.rows.insert(row, (time, size));
    }

    fn remove(&mut self, row: &Bytes) {
        if let Some((time, size)) = self.rows.remove(row) {
            self.bytes -= size;
            self.by_time.remove(&(time, row.clone()));
        }
    }

    fn first(&self) -> Option<(Timestamp, Bytes)> {
        self.by_time.first_key_value().map(|((time, row), ())| (*time, row.clone()))
    }

    fn over(&self, limits: Limits) -> bool {
        limits.records.is_some_and(|max| self.rows.len() > max) || limits.bytes.is_some_and(|max| self.bytes > max)
    }
}

/// The node of `suppress`.
pub(crate) struct Suppress<K, V> {
    pub name: Arc<str>,
    pub buffer: BufferStore<K, V>,
    /// `None`: by the record's time.
    pub time_of: Option<TimeOf<K>>,
    /// How long a row waits after its time, in milliseconds.
    pub wait_ms: i64,
    pub limits: Limits,
    /// True for final results, which nobody saw before: a row that ends as deleted is not told.
    pub drops_tombstones: bool,
    pub stream_time: TimeSlot,
    pub children: Children<K, Change<V>>,
    order: RefCell<Order>,
    /// True once `order` has been made of the store.
    ordered: Cell<bool>,
}

/// What a [`Suppress`] is made of.
pub(crate) struct Suppressing<K, V> {
    pub name: Arc<str>,
    pub buffer: BufferStore<K, V>,
    pub time_of: Option<TimeOf<K>>,
    pub wait_ms: i64,
    pub limits: Limits,
    pub drops_tombstones: bool,
    pub stream_time: TimeSlot,
    pub children: Children<K, Change<V>>,
}

impl<K: 'static, V: 'static> Suppress<K, V> {
    pub fn new(made_of: Suppressing<K, V>) -> Self {
        let Suppressing { name, buffer, time_of, wait_ms, limits, drops_tombstones, stream_time, children } = made_of;
        let (order, ordered) = (RefCell::default(), Cell::new(false));
        Self { name, buffer, time_of, wait_ms, limits, drops_tombstones, stream_time, children, order, ordered }
    }

    /// Reads the rows of the store into their order, the first time.
    fn put_in_order(&self, cx: &mut dyn Context) -> Result<()> {
        if self.ordered.replace(true) {
            return Ok(());
        }
        let (mut order, mut failure) = (Order::default(), None);
        cx.store(self.buffer.store).scan(b"", None, false, &mut |row, stored| {
            match Buffered::decode(&stored.value) {
                Ok(buffered) => order.set(Bytes::copy_from_slice(row), buffered.time, buffered.size(row)),
                Err(fault) => failure = Some(fault),
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.order.replace(order);
        failure.map_or(Ok(()), |fault| {
            Err(fault.with_remedy(crate::fault::Remedy::Stop).at(format!("node {}", self.name)))
        })
    }

    /// Lets the first row go.
    fn emit(&self, cx: &mut dyn Context, row: Bytes) -> Result<()> {
        if let Some(found) = self.buffer.get(cx, &row)? {
            let new = self.buffer.value(found.new.as_ref())?;
            if new.is_some() || !self.drops_tombstones {
                let key = self.buffer.keys.decode(&row)?;
                let change = Change::new(new, self.buffer.value(found.old.as_ref())?);
                let (timestamp, headers) = (found.timestamp, &found.headers);
                let before = cx.set_source(found.source.clone());
                let told =
                    self.children.forward(cx, Record { key: Some(&key), value: Some(&change), timestamp, headers });
                cx.set_source(before);
                told?;
            }
            cx.store(self.buffer.store).put(row.clone(), None, found.timestamp)?;
        }
        self.order.borrow_mut().remove(&row);
        Ok(())
    }

    fn emit_while(&self, cx: &mut dyn Context, due: impl Fn(&Order, Timestamp) -> bool) -> Result<()> {
        loop {
            let first = {
                let order = self.order.borrow();
                order.first().filter(|(time, _)| due(&order, *time))
            };
            match first {
                Some((_, row)) => self.emit(cx, row)?,
                None => return Ok(()),
            }
        }
    }

    fn full(&self) -> Fault {
        let order = self.order.borrow();
        let limit = |limit: Option<usize>| limit.map_or_else(|| "any number of".to_owned(), |n| n.to_string());
        Fault::stop(format!(
            "the buffer is full: it holds {} of {} records and {} of {} bytes",
            order.rows.len(),
            limit(self.limits.records),
            order.bytes,
            limit(self.limits.bytes)
        ))
        .at(format!("node {}", self.name))
        .hint("raise the limit, or emit early when full (BufferConfig::emit_early_when_full)")
    }
}

impl<K: 'static, V: 'static> Process<K, Change<V>> for Suppress<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, Change<V>>) -> Result<()> {
        let (Some(key), Some(change)) = (record.key, record.value) else { return Ok(()) };
        self.put_in_order(cx)?;
        let stream_time = cx.time(self.stream_time).max(record.timestamp);
        cx.set_time(self.stream_time, stream_time);

        let row = self.buffer.keys.to_bytes(key)?;
        let old = self.buffer.bytes(change.old.as_ref())?;
        let (prior, time) = match self.buffer.get(cx, &row)? {
            // A later change of a key waits in the place of the first.
            Some(waiting) => (waiting.prior, waiting.time),
            None => (old.clone(), self.time_of.as_ref().map_or(record.timestamp, |time_of| time_of(key))),
        };
        let buffered = Buffered {
            timestamp: record.timestamp,
            source: cx.source().cloned(),
            headers: record.headers.clone(),
            prior,
            old,
            new: self.buffer.bytes(change.new.as_ref())?,
            time,
        };
        self.order.borrow_mut().set(row.clone(), time, buffered.size(&row));
        cx.store(self.buffer.store).put(row, Some(buffered.encode()), record.timestamp)?;

        let expired = stream_time.saturating_sub(self.wait_ms);
        self.emit_while(cx, |_, time| time <= expired)?;
        match self.limits.full {
            Full::Emit => self.emit_while(cx, |order, _| order.over(self.limits)),
            Full::ShutDown if self.order.borrow().over(self.limits) => Err(self.full()),
            Full::ShutDown => Ok(()),
        }
    }
}

impl<K, V> Node for Suppress<K, V> {}

/// Rows of a suppressed table: as they were when they were last let go.
pub(crate) struct SuppressGetter<K, V> {
    pub parent: Rc<dyn Getter<K, V>>,
    pub buffer: BufferStore<K, V>,
}

impl<K: 'static, V: 'static> Getter<K, V> for SuppressGetter<K, V> {
    fn get(&self, cx: &mut dyn Context, key: &K) -> Result<Option<(V, Timestamp)>> {
        let row = self.buffer.keys.to_bytes(key)?;
        match self.buffer.get(cx, &row)? {
            Some(waiting) => Ok(self.buffer.value(waiting.prior.as_ref())?.map(|prior| (prior, NO_TIMESTAMP))),
            None => self.parent.get(cx, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::serdes,
        operator::testkit::{Collect, Kit, collect},
        state::StoreKind,
    };

    type Child = Rc<Collect<String, Change<i64>>>;

    fn suppress(wait_ms: i64, limits: Limits) -> (Suppress<String, i64>, Child, Kit) {
        let (child, children) = collect();
        let buffer = BufferStore { store: StoreIx(0), keys: serdes::string(), values: serdes::i64() };
        let node = Suppress::new(Suppressing {
            name: "suppress".into(),
            buffer,
            time_of: None,
            wait_ms,
            limits,
            drops_tombstones: false,
            stream_time: TimeSlot(0),
            children,
        });
        (node, child, Kit::new(StoreKind::Buffer))
    }

    fn tell(node: &Suppress<String, i64>, kit: &mut Kit, key: &str, new: i64, at: Timestamp) -> Result<()> {
        node.process(kit, Record::new(Some(&key.to_owned()), Some(&Change::new(Some(new), None)), at))
    }

    fn told(child: &Child) -> Vec<(String, Option<i64>, Timestamp)> {
        child.take().into_iter().map(|(key, change, at)| (key.unwrap(), change.unwrap().new, at)).collect()
    }

    const NO_LIMIT: Limits = Limits { records: None, bytes: None, full: Full::ShutDown };

    #[test]
    fn d145_a_key_waits_from_its_first_change_and_the_last_one_is_told() {
        let (node, child, mut kit) = suppress(10, NO_LIMIT);
        for (key, n, at) in [("b", 1, 0), ("a", 2, 0), ("b", 3, 9)] {
            tell(&node, &mut kit, key, n, at).unwrap();
        }
        assert_eq!(told(&child), []);
        tell(&node, &mut kit, "c", 4, 10).unwrap();
        assert_eq!(told(&child), [("a".into(), Some(2), 0), ("b".into(), Some(3), 9)]);
    }

    #[test]
    fn d147_a_full_buffer_lets_the_oldest_go_or_stops() {
        let (node, child, mut kit) = suppress(100, Limits { records: Some(1), full: Full::Emit, ..NO_LIMIT });
        tell(&node, &mut kit, "b", 1, 0).unwrap();
        tell(&node, &mut kit, "a", 2, 5).unwrap();
        assert_eq!(told(&child), [("b".into(), Some(1), 0)]);
        let (node, _, mut kit) = suppress(100, Limits { records: Some(1), ..NO_LIMIT });
        tell(&node, &mut kit, "b", 1, 0).unwrap();
        let fault = tell(&node, &mut kit, "a", 2, 5).unwrap_err();
        assert!(fault.what().starts_with("the buffer is full: it holds 2 of 1 records"), "{fault}");
    }

    #[test]
    fn d148_the_order_is_made_again_of_the_store() {
        let (node, _, mut kit) = suppress(10, NO_LIMIT);
        tell(&node, &mut kit, "a", 1, 0).unwrap();
        let (again, child, _) = suppress(10, NO_LIMIT);
        tell(&again, &mut kit, "b", 2, 10).unwrap();
        assert_eq!(told(&child), [("a".into(), Some(1), 0)]);
    }
}
