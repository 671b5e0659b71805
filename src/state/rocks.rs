//! Rows on disk, in RocksDB: one database per task, one column family per store.
//!
//! The write-ahead log is off: a batch goes into the memtable as one piece, and is flushed to a synced file before
//! [`Backend::persist`] returns. A batch is in one column family, so that whatever RocksDB flushes on its own holds
//! the batch whole: rows and their description can't be torn apart.

use super::{Backend, Batch, Saved};
use crate::{
    codec::{Serde, serdes},
    fault::{Fault, Result},
};
use bytes::Bytes;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BlockBasedTablePinningTier, Cache, ColumnFamily, DB, DBCompressionType,
    ErrorKind, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

/// Key of the description. Rows have [`ROW`] before their id, so no row can have this key.
const SAVED: [u8; 1] = [0];
/// First byte of every row's key.
const ROW: u8 = 1;
/// Above every row's key.
const END: [u8; 1] = [ROW + 1];
/// First byte of a description: the version of its format.
const SAVED_FORMAT: u8 = 1;
/// Bits of bloom filter for each row; one read in a hundred for a row that isn't there goes to the disk.
const BLOOM_BITS: f64 = 10.0;
/// One piece of a filter or an index.
const METADATA_BLOCK_BYTES: usize = 16 << 10;
/// What a memtable takes at a time.
const ARENA_BLOCK_BYTES: usize = 64 << 10;

/// What all databases of a process share: one block cache and one limit for memtables.
pub struct RocksRuntime {
    cache: Cache,
    buffers: WriteBufferManager,
    write_buffer_bytes: usize,
    open: Mutex<Vec<Weak<Task>>>,
    /// Held by whoever opens a database, and alone by whoever looks at all of them: a look may hold the last reference
    /// to one, and a directory that is not closed yet can't be opened again.
    looking: RwLock<()>,
}

/// A figure that RocksDB keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// What it counts.
    pub name: &'static str,
    /// The store, for a figure that each has; its partitions are added up.
    pub store: Option<String>,
    /// The figure.
    pub value: u64,
}

/// Figures of each store: RocksDB's name, ours.
const OF_STORES: [(&str, &str); 6] = [
    ("rocksdb.estimate-num-keys", "estimated_keys"),
    ("rocksdb.total-sst-files-size", "sst_bytes"),
    ("rocksdb.live-sst-files-size", "live_sst_bytes"),
    ("rocksdb.cur-size-all-mem-tables", "memtable_bytes"),
    ("rocksdb.estimate-table-readers-mem", "table_reader_bytes"),
    ("rocksdb.estimate-pending-compaction-bytes", "pending_compaction_bytes"),
];
/// Figures of each database.
const OF_DATABASES: [(&str, &str); 4] = [
    ("rocksdb.num-running-compactions", "running_compactions"),
    ("rocksdb.num-running-flushes", "running_flushes"),
    ("rocksdb.background-errors", "background_errors"),
    ("rocksdb.is-write-stopped", "stopped_databases"),
];

/// The database of one task.
struct Task {
    db: DB,
    families: Vec<String>,
    place: String,
}

impl RocksRuntime {
    /// A block cache of `cache_bytes`, and memtables of `write_buffer_bytes` at most, over all tasks.
    pub fn new(cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        Self {
            cache: Cache::new_lru_cache(cache_bytes),
            buffers: WriteBufferManager::new_write_buffer_manager(write_buffer_bytes, false),
            write_buffer_bytes,
            open: Mutex::default(),
            looking: RwLock::default(),
        }
    }

    /// Opens the database of a task, made if need be, with a backend for each of `stores` in their order. Stores that
    /// it holds besides are kept. It closes when the last backend is dropped.
    ///
    /// # Errors
    /// When another process has it open, when it is damaged, or when the disk fails.
    pub fn open_task(&self, directory: &Path, stores: &[&str]) -> Result<Vec<Arc<dyn Backend>>> {
        let _nobody_looks = self.looking.read().unwrap_or_else(PoisonError::into_inner);
        let place = format!("directory {}", directory.display());
        let options = self.options();
        let mut families = if directory.join("CURRENT").exists() {
            DB::list_cf(&options, directory).map_err(|error| fault(error, &place))?
        } else {
            std::fs::create_dir_all(directory).map_err(|error| {
                Fault::stop(format!("the state directory can't be made: {error}"))
                    .at(place.as_str())
                    .hint("check `state.dir` and its permissions")
            })?;
            vec!["default".to_owned()]
        };
        let names: Vec<String> = stores.iter().map(|store| family_name(store)).collect();
        families.extend(names.iter().filter(|name| !families.contains(name)).cloned().collect::<Vec<_>>());
        let with_options = families.iter().map(|name| (name, self.options()));
        let db = DB::open_cf_with_opts(&options, directory, with_options).map_err(|error| fault(error, &place))?;
        let task = Arc::new(Task { db, families, place });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|task| task.strong_count() > 0);
        open.push(Arc::downgrade(&task));
        let backend = |family| {
            let (saved, reads) = (serdes::bincode(), ReadOptions::default());
            Arc::new(RocksBackend { task: Arc::clone(&task), family, saved, reads, cut: Mutex::default() })
                as Arc<dyn Backend>
        };
        Ok(names.into_iter().map(backend).collect())
    }

    /// Figures over all open databases, for metrics.
    pub fn properties(&self) -> Vec<Property> {
        let _alone = self.looking.write().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.iter().filter_map(Weak::upgrade).collect()
        };
        let mut stores: BTreeMap<(&'static str, &str), u64> = BTreeMap::new();
        let mut all = Vec::new();
        for task in &open {
            for (family, store) in task.families.iter().filter_map(|f| Some((f, f.strip_prefix(FAMILY)?))) {
                let Some(handle) = task.db.cf_handle(family) else { continue };
                for (property, name) in OF_STORES {
                    let value = task.db.property_int_value_cf(handle, property).ok().flatten();
                    *stores.entry((name, store)).or_default() += value.unwrap_or(0);
                }
            }
        }
        let whole = |name, value| Property { name, store: None, value };
        for (property, name) in OF_DATABASES {
            let values = open.iter().filter_map(|task| task.db.property_int_value(property).ok()?);
            all.push(whole(name, values.sum()));
        }
        all.push(whole("block_cache_bytes", self.cache.get_usage() as u64));
        all.push(whole("pinned_block_cache_bytes", self.cache.get_pinned_usage() as u64));
        all.push(whole("write_buffer_bytes", self.buffers.get_usage() as u64));
        let of_store = |((name, store), value): ((_, &str), _)| Property { name, store: Some(store.to_owned()), value };
        all.extend(stores.into_iter().map(of_store));
        all
    }

    fn options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_cache_index_and_filter_blocks(true);
        // In pieces. A whole filter is larger than a megabyte: of ten million rows in a small cache, each look-up would
        // read and check one again.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(METADATA_BLOCK_BYTES);
        blocks.set_top_level_index_pinning_tier(BlockBasedTablePinningTier::All);
        // Files that were just flushed are asked for every row, and are few: their pieces stay. All pieces of all files may
        // be more than the cache is to hold.
        blocks.set_partition_pinning_tier(BlockBasedTablePinningTier::FlushAndSimilar);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_manager(&self.buffers);
        options.set_write_buffer_size(self.write_buffer_bytes.max(1 << 16));
        // A memtable takes memory in blocks, by default of a megabyte: hundreds of tasks would flush each other's.
        options.set_arena_block_size(ARENA_BLOCK_BYTES);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options
    }
}

/// Before each store's name: RocksDB has a family `default` of its own.
const FAMILY: &str = "store-";

fn family_name(store: &str) -> String {
    format!("{FAMILY}{store}")
}

struct RocksBackend {
    task: Arc<Task>,
    family: String,
    saved: Serde<Saved>,
    /// Made once: each takes an allocation.
    reads: ReadOptions,
    /// Key below which rows are deleted already.
    cut: Mutex<Vec<u8>>,
}

impl RocksBackend {
    fn family(&self) -> &ColumnFamily {
        self.task.db.cf_handle(&self.family).expect("families are opened with the database and never dropped")
    }

    fn fault(&self, error: rocksdb::Error) -> Fault {
        fault(error, &self.task.place)
    }

    /// Writes past the log, then waits until the file is synced.
    fn write(&self, batch: WriteBatch) -> Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.task.db.write_opt(batch, &options).map_err(|error| self.fault(error))?;
        self.task.db.flush_cf(self.family()).map_err(|error| self.fault(error))
    }
}

impl Backend for RocksBackend {
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>> {
        let found = self.task.db.get_pinned_cf_opt(self.family(), row_key(row), &self.reads);
        let found = found.map_err(|error| self.fault(error))?;
        Ok(found.map(|stored| Bytes::copy_from_slice(&stored)))
    }

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(row_key(from));
        options.set_iterate_upper_bound(to.map_or(END.to_vec(), row_key));
        let mut rows = self.task.db.raw_iterator_cf_opt(self.family(), options);
        if reverse {
            rows.seek_to_last();
        } else {
            rows.seek_to_first();
        }
        while let Some((key, stored)) = rows.item() {
            if visit(&key[1..], stored).is_break() {
                return Ok(());
            }
            if reverse {
                rows.prev();
            } else {
                rows.next();
            }
        }
        rows.status().map_err(|error| self.fault(error))
    }

    fn persist(&self, batch: &Batch) -> Result<()> {
        let family = self.family();
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let new_cut = batch.expire_below.as_ref().map(|below| row_key(below)).filter(|below| *below > *cut);
        let mut writes = WriteBatch::default();
        if let Some(below) = &new_cut {
            writes.delete_range_cf(family, row_key(cut.get(1..).unwrap_or_default()), below.clone());
        }
        for (id, stored) in &batch.rows {
            match stored {
                Some(stored) => writes.put_cf(family, row_key(id), stored),
                None => writes.delete_cf(family, row_key(id)),
            }
        }
        if let Some(saved) = &batch.saved {
            let mut bytes = vec![SAVED_FORMAT];
            self.saved.encode(saved, &mut bytes)?;
            writes.put_cf(family, SAVED, bytes);
        }
        self.write(writes)?;
        if let Some(below) = new_cut {
            // Whole files of expired rows go at once; the range deletion above covers the rest until it is compacted.
            let files = self.task.db.delete_file_in_range_cf(family, vec![ROW], just_below(&below));
            *cut = below;
            files.map_err(|error| self.fault(error))?;
        }
        Ok(())
    }

    fn saved(&self) -> Result<Option<Saved>> {
        let found = self.task.db.get_pinned_cf(self.family(), SAVED).map_err(|error| self.fault(error))?;
        match found.as_deref() {
            None => Ok(None),
            Some([SAVED_FORMAT, saved @ ..]) => self.saved.decode(saved).map(Some).map_err(|_| self.unreadable()),
            Some(_) => Err(self.unreadable()),
        }
    }

    fn clear(&self) -> Result<()> {
        let mut writes = WriteBatch::default();
        writes.delete_cf(self.family(), SAVED);
        writes.delete_range_cf(self.family(), vec![ROW], END.to_vec());
        self.write(writes)?;
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        let files = self.task.db.delete_file_in_range_cf(self.family(), vec![ROW], END.to_vec());
        files.map_err(|error| self.fault(error))
    }

    fn durable(&self) -> bool {
        true
    }
}

impl RocksBackend {
    fn unreadable(&self) -> Fault {
        Fault::stop("a store's description is of another version of this program")
            .at(self.task.place.as_str())
            .hint("run the version that wrote it, or delete the directory: it is restored from the changelog")
    }
}

fn row_key(row: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + row.len());
    key.push(ROW);
    key.extend_from_slice(row);
    key
}

/// A key below `key`, and above nearly all keys that are below it: RocksDB takes the end of a range of files as
/// part of it.
fn just_below(key: &[u8]) -> Vec<u8> {
    let mut below = key.to_vec();
    match below.last_mut() {
        Some(0) => {
            below.pop();
        }
        Some(last) => {
            *last -= 1;
            below.push(0xff);
        }
        None => {}
    }
    below
}

fn fault(error: rocksdb::Error, place: &str) -> Fault {
    let kind = error.kind();
    let text = error.into_string();
    let locked = kind == ErrorKind::IOError && text.contains("LOCK");
    if locked {
        return Fault::stop(format!("another process, or another task of this one, has the state open: {text}"))
            .at(place)
            .hint("give each worker a `state.dir` of its own, or stop the other worker");
    }
    let fault = Fault::stop(format!("RocksDB: {text}")).at(place);
    match kind {
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotSupported => {
            fault.hint("delete the directory: the state is restored from its changelog")
        }
        _ => fault.hint("check the disk: its space, permissions and health"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::conformance::{self, batch, rows, saved};
    use tempfile::TempDir;

    fn runtime() -> RocksRuntime {
        RocksRuntime::new(1 << 20, 1 << 20)
    }

    #[test]
    fn it_does_what_every_backend_must() {
        let directories: Mutex<Vec<TempDir>> = Mutex::default();
        conformance::run(|| {
            let directory = TempDir::new().unwrap();
            let stores = runtime().open_task(directory.path(), &["s"]).unwrap();
            directories.lock().unwrap().push(directory);
            Arc::clone(&stores[0])
        });
    }

    #[test]
    fn rows_and_their_description_survive_a_reopen() {
        let directory = TempDir::new().unwrap();
        let stores = runtime().open_task(directory.path(), &["a", "b"]).unwrap();
        stores[0].persist(&batch(&[("k", Some("1"))], 5)).unwrap();
        stores[1].persist(&batch(&[("k", Some("2"))], 6)).unwrap();
        drop(stores);
        let stores = runtime().open_task(directory.path(), &["b", "c"]).unwrap();
        assert_eq!(stores[0].get(b"k").unwrap(), Some("2".into()));
        assert_eq!(stores[0].saved().unwrap(), Some(saved(6)));
        assert_eq!(stores[1].saved().unwrap(), None);
        drop(stores);
        let stores = runtime().open_task(directory.path(), &["a"]).unwrap();
        assert_eq!((stores[0].get(b"k").unwrap(), stores[0].saved().unwrap()), (Some("1".into()), Some(saved(5))));
    }

    #[test]
    fn a_store_may_have_any_name() {
        let directory = TempDir::new().unwrap();
        let stores = runtime().open_task(directory.path(), &["default", "a b/ö"]).unwrap();
        stores[0].persist(&batch(&[("k", Some("1"))], 5)).unwrap();
        assert_eq!(stores[1].get(b"k").unwrap(), None);
    }

    #[test]
    fn an_open_directory_can_not_be_opened_again() {
        let directory = TempDir::new().unwrap();
        let _stores = runtime().open_task(directory.path(), &["s"]).unwrap();
        let fault = runtime().open_task(directory.path(), &["s"]).err().unwrap();
        assert!(fault.to_string().contains("state.dir"), "{fault}");
    }

    #[test]
    fn a_damaged_directory_says_what_to_do() {
        let directory = TempDir::new().unwrap();
        runtime().open_task(directory.path(), &["s"]).unwrap()[0].persist(&batch(&[("k", Some("1"))], 5)).unwrap();
        std::fs::write(directory.path().join("CURRENT"), "MANIFEST-999999\n").unwrap();
        let fault = runtime().open_task(directory.path(), &["s"]).err().unwrap();
        assert_eq!(fault.remedy, crate::fault::Remedy::Stop);
        assert!(fault.to_string().contains(&directory.path().display().to_string()), "{fault}");
    }

    #[test]
    fn expired_rows_are_gone_after_a_reopen() {
        let directory = TempDir::new().unwrap();
        let stores = runtime().open_task(directory.path(), &["s"]).unwrap();
        stores[0].persist(&batch(&[("a", Some("1")), ("b", Some("2"))], 1)).unwrap();
        stores[0].persist(&Batch { expire_below: Some("b".into()), ..batch(&[], 2) }).unwrap();
        drop(stores);
        let stores = runtime().open_task(directory.path(), &["s"]).unwrap();
        assert_eq!(rows(&*stores[0], b"", None, false), [("b".into(), "2".into())]);
    }

    #[test]
    fn figures_cover_open_databases() {
        let directory = TempDir::new().unwrap();
        let runtime = runtime();
        let stores = runtime.open_task(directory.path(), &["s"]).unwrap();
        stores[0].persist(&batch(&[("a", Some("1"))], 1)).unwrap();
        let size = |runtime: &RocksRuntime| -> Vec<u64> {
            let of_store = |p: &Property| p.name == "sst_bytes" && p.store.as_deref() == Some("s");
            runtime.properties().iter().filter(|p| of_store(p)).map(|p| p.value).collect()
        };
        assert!(matches!(size(&runtime)[..], [bytes] if bytes > 0));
        drop(stores);
        assert!(size(&runtime).is_empty());
    }

    #[test]
    fn just_below_is_below() {
        for key in [&b"\x01\0\x05"[..], b"\x01\0\0", b"\x01"] {
            assert!(&just_below(key)[..] < key);
        }
    }
}
