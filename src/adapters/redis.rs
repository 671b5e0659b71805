//! Rows as hashes of Redis: one script for each batch.

use super::CALL_TIMEOUT;
use crate::{
    fault::{Fault, Result},
    sink::{Batch, Sink, SinkRow, SinkSupplier},
};
use ::redis::{Client, Connection, RedisError, RetryMethod, Script};
use std::{fmt, time::Duration};

/// Rows of one call; Redis serves nobody else meanwhile.
const ROWS_MAX: usize = 1_000;
/// How long Redis remembers a deleted row by default: well beyond the time that a member may stand still and go on.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// For each key: source, offset, "1" or "0" for a value or none, the value; and at the end how long a deletion is kept.
const WRITE: &str = r"
local forget = ARGV[#ARGV]
for i = 1, #KEYS do
  local a = (i - 1) * 4
  local there = redis.call('HMGET', KEYS[i], 'source', 'offset')
  if there[1] ~= ARGV[a + 1] or tonumber(there[2]) <= tonumber(ARGV[a + 2]) then
    if ARGV[a + 3] == '1' then
      redis.call('HSET', KEYS[i], 'source', ARGV[a + 1], 'offset', ARGV[a + 2], 'value', ARGV[a + 4])
      redis.call('PERSIST', KEYS[i])
    else
      redis.call('HDEL', KEYS[i], 'value')
      redis.call('HSET', KEYS[i], 'source', ARGV[a + 1], 'offset', ARGV[a + 2])
      redis.call('PEXPIRE', KEYS[i], forget)
    end
  end
end
return #KEYS";

/// Redis as a sink: each row is a hash under its key, with the value in the field `value`, and its guard in `source`
/// and `offset`. Readers ask for `HGET key value`.
///
/// Of a deleted row source and offset stay for a day, so that none that is older comes back. A batch is written by a
/// script, row by row and each with its guard; a failure may leave a part of it, and the next try writes the rest. What
/// Redis itself loses in a crash (see its `appendfsync`) is lost: use it for what can be filled again. One server, not a
/// cluster, and without encryption.
///
/// ```
/// use millstream::{adapters::RedisHashes, codec::serdes, topology::{Produced, StreamsBuilder}};
/// let builder = StreamsBuilder::new();
/// let text = serdes::string;
/// let cache = RedisHashes::new("redis://localhost/").prefix("user:");
/// builder.stream::<String, String>("users").to_sink("cache", cache, Produced::with(text(), text()));
/// # builder.build().unwrap();
/// ```
#[derive(Clone)]
pub struct RedisHashes {
    url: String,
    prefix: String,
    remembered: Duration,
}

/// Without the address, which may hold a password.
impl fmt::Debug for RedisHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisHashes").field("prefix", &self.prefix).field("remembered", &self.remembered).finish()
    }
}

impl RedisHashes {
    /// On this server: `redis://[user:password@]host[:port][/database]`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: String::new(), remembered: REMEMBERED }
    }

    /// What the keys in Redis begin with, before the keys of the rows.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long the place of a deleted row is kept.
    #[must_use]
    pub fn remember_deleted(self, time: Duration) -> Self {
        Self { remembered: time, ..self }
    }
}

impl SinkSupplier for RedisHashes {
    fn open(&self) -> Result<Box<dyn Sink>> {
        let client = Client::open(self.url.as_str())
            // Without the address itself, which may hold a password.
            .map_err(|e| {
                Fault::stop(format!("what should be Redis' address can't be read: {e}"))
                    .hint("give it as `redis://[user:password@]host[:port][/database]`")
            })?;
        let connect = || {
            let connection = client.get_connection_with_timeout(CALL_TIMEOUT)?;
            connection.set_read_timeout(Some(CALL_TIMEOUT))?;
            connection.set_write_timeout(Some(CALL_TIMEOUT))?;
            Ok(connection)
        };
        let connection = connect().map_err(|error| judged(&error))?;
        Ok(Box::new(Hashes { connection, script: Script::new(WRITE), supplier: self.clone() }))
    }
}

struct Hashes {
    connection: Connection,
    script: Script,
    supplier: RedisHashes,
}

impl Hashes {
    fn write_some(&mut self, rows: &[SinkRow]) -> Result<()> {
        let mut call = self.script.prepare_invoke();
        for row in rows {
            call.key([self.supplier.prefix.as_bytes(), &row.key].concat());
            let value = row.value.as_deref().unwrap_or_default();
            call.arg(row.source()).arg(row.version.offset).arg(i32::from(row.value.is_some())).arg(value);
        }
        call.arg(u64::try_from(self.supplier.remembered.as_millis()).unwrap_or(u64::MAX));
        let written: usize = call.invoke(&mut self.connection).map_err(|error| judged(&error))?;
        debug_assert_eq!(written, rows.len(), "the script tells how many keys it was given");
        Ok(())
    }
}

impl Sink for Hashes {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        batch.rows.chunks(ROWS_MAX).try_for_each(|rows| self.write_some(rows))
    }
}

/// What may pass is tried again: a lost connection, and a server that loads, is full, or is no master for a while.
fn judged(error: &RedisError) -> Fault {
    let what = format!("Redis: {error}");
    let passing = ["LOADING", "OOM", "MISCONF", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN"];
    let passes = error.code().is_some_and(|code| passing.contains(&code));
    if passes || !matches!(error.retry_method(), RetryMethod::NoRetry) {
        return Fault::retry(what);
    }
    Fault::stop(what).hint("compare the server's rights, and the types of the keys, with what the sink writes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Remedy;

    #[test]
    fn a_server_that_is_not_there_is_asked_again_and_a_wrong_address_is_not() {
        let open = |url: &str| RedisHashes::new(url).open().err().unwrap();
        assert_eq!(open("redis://127.0.0.1:1/").remedy, Remedy::Retry);
        let fault = open("127.0.0.1:secret");
        assert!(fault.remedy == Remedy::Stop && fault.to_string().contains("redis://"), "{fault}");
        assert!(!fault.to_string().contains("secret"), "{fault}");
    }
}
