//! How tables are joined by a foreign key.

use std::sync::Arc;

/// Chooses a partition by topic, key and number of partitions.
pub(crate) type KeyPartitioner<K> = Arc<dyn Fn(&str, Option<&K>, i32) -> i32 + Send + Sync>;

/// How two tables are joined by a foreign key: a name, and the partitioners of tables that are not partitioned by
/// Kafka's default.
///
/// ```
/// use millstream::topology::TableJoined;
/// let joined: TableJoined<String, i64> =
///     TableJoined::with_name("orders").other_partitioner(|_, customer, count| *customer.unwrap_or(&0) as i32 % count);
/// ```
pub struct TableJoined<K, KO> {
    pub(crate) name: Option<String>,
    pub(crate) partitioner: Option<KeyPartitioner<K>>,
    pub(crate) other_partitioner: Option<KeyPartitioner<KO>>,
    pub(crate) always_answered: bool,
}

impl<K, KO> Clone for TableJoined<K, KO> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            partitioner: self.partitioner.clone(),
            other_partitioner: self.other_partitioner.clone(),
            always_answered: self.always_answered,
        }
    }
}

impl<K, KO> Default for TableJoined<K, KO> {
    fn default() -> Self {
        Self { name: None, partitioner: None, other_partitioner: None, always_answered: false }
    }
}

impl<K, KO> TableJoined<K, KO> {
    /// With a name for the nodes, the store of subscriptions and the two topics:
    /// `APPLICATION-NAME-subscription-registration-topic` and `APPLICATION-NAME-subscription-response-topic`.
    pub fn with_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Names the nodes, the store of subscriptions and the two topics.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// How the left table is partitioned. Without it a response goes back to the partition that its row came from.
    #[must_use]
    pub fn partitioner(self, choose: impl Fn(&str, Option<&K>, i32) -> i32 + Send + Sync + 'static) -> Self {
        Self { partitioner: Some(Arc::new(choose)), ..self }
    }

    /// How the right table is partitioned, if not by Kafka's default.
    #[must_use]
    pub fn other_partitioner(self, choose: impl Fn(&str, Option<&KO>, i32) -> i32 + Send + Sync + 'static) -> Self {
        Self { other_partitioner: Some(Arc::new(choose)), ..self }
    }

    /// Lets an inner join answer each change of a left row, also where there is no right row. Without it, as in Kafka
    /// Streams, the answer to a change that finds no right row is left out (D-108) unless the foreign key has just
    /// changed; where the answer before it comes too late and is dropped (D-107), the joined row of a former change stays
    /// for good. With it such a row is always taken back in the end; a tombstone for a row that was never joined may be
    /// forwarded.
    #[must_use]
    pub fn always_answered(self) -> Self {
        Self { always_answered: true, ..self }
    }
}
