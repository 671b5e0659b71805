//! `claim-check`: large payloads lie in a store of objects, and only a reference goes through Kafka.
//!
//! Shows both ends: a document over a size is put away under a name made of its place in the topic and a hash of its
//! content, and a reader gets it back, checked against that hash. The object is written and synced before the reference is
//! committed, so a reference that can be read has its object. A crash in between leaves the object, and the record that is
//! processed again writes the very same one: nothing is lost, and no object is left that nobody refers to.
//!
//! Use it above about a megabyte, where Kafka would need larger limits at every client. Objects, and parts
//! of those that a crash cut short, are deleted by age, when the topic's retention has let go of the references. The objects here are files below `CLAIM_CHECK_DIR` (by default in the
//! directory for temporary files); replicas need a directory, or a bucket behind the same two functions, that all of
//! them reach.

use bytes::Bytes;
use millstream::{
    cli::{Entry, Format, Params, Topic},
    codec::{murmur3, serdes},
    fault::{Fault, Result},
    operator::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord},
    topology::{Consumed, Produced, StreamsBuilder, Topology},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// What is larger than this goes to the objects.
const INLINE_BYTES_MAX: usize = 1_000;

pub const ENTRY: Entry = Entry {
    name: "claim-check",
    about: "large payloads in a store of objects, references through Kafka, and back",
    inputs: &[
        Topic::new("documents", Format::String, Format::String),
        Topic::new("document-claims", Format::String, Format::Json),
    ],
    outputs: &[
        Topic::new("document-claims", Format::String, Format::Json),
        Topic::new("documents-redeemed", Format::String, Format::String),
    ],
    settings: &[],
    build,
};

static PARTS: AtomicU64 = AtomicU64::new(0);

/// What goes through Kafka in a document's place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Claim {
    Inline(String),
    Object { name: String, bytes: usize },
}

/// A directory of objects, whose names end with the hash of their content.
#[derive(Clone)]
struct Objects(PathBuf);

impl Objects {
    fn here() -> Self {
        let given = std::env::var_os("CLAIM_CHECK_DIR").map(PathBuf::from);
        Self(given.unwrap_or_else(|| std::env::temp_dir().join("millstream-claim-check")))
    }

    fn hash(content: &[u8]) -> String {
        murmur3(content).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Puts content away for good, and returns its name. Done again, it changes nothing.
    fn put(&self, place: &str, content: &[u8]) -> std::io::Result<String> {
        let name = format!("{place}-{}", Self::hash(content));
        let object = self.0.join(&name);
        if !object.exists() {
            fs::create_dir_all(&self.0)?;
            // Under its name it is whole, even when a worker that was taken for dead writes it too.
            let number = PARTS.fetch_add(1, Ordering::Relaxed);
            let part = self.0.join(format!("{name}.{}-{number}.part", std::process::id()));
            let mut file = fs::File::create(&part)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&part, &object)?;
            sync_directory(&self.0)?;
        }
        Ok(name)
    }

    fn get(&self, name: &str) -> std::io::Result<Vec<u8>> {
        let content = fs::read(self.0.join(name))?;
        if name.ends_with(&Self::hash(&content)) {
            Ok(content)
        } else {
            Err(std::io::Error::other("the content was changed"))
        }
    }
}

/// The name of a file is on disk when its directory is.
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// A store that does not answer stops the worker, or does the transaction again (`processing.exception.handler=retry`).
fn failed(object: &str, error: &std::io::Error) -> Fault {
    Fault::stop(format!("object {object}: {error}")).hint("check CLAIM_CHECK_DIR")
}

struct CheckIn(Objects);

impl FixedKeyProcessor<Bytes, Bytes, Claim> for CheckIn {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, Bytes, Claim>,
        record: FixedKeyRecord<'_, Bytes, Bytes>,
    ) -> Result<()> {
        let source = cx.record_metadata().ok_or_else(|| Fault::stop("a record without a place"))?;
        let place = format!("{}-{}-{}", source.topic, source.partition, source.offset);
        let claim = match record.value() {
            None => None,
            Some(content) => Some(match std::str::from_utf8(content) {
                Ok(text) if text.len() <= INLINE_BYTES_MAX => Claim::Inline(text.to_owned()),
                _ => {
                    let name = self.0.put(&place, content).map_err(|e| failed(&place, &e))?;
                    Claim::Object { name, bytes: content.len() }
                }
            }),
        };
        cx.forward(record.with_value(claim.as_ref()))
    }
}

struct Redeem(Objects);

impl FixedKeyProcessor<Bytes, Claim, Bytes> for Redeem {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, Bytes, Bytes>,
        record: FixedKeyRecord<'_, Bytes, Claim>,
    ) -> Result<()> {
        let content = match record.value() {
            None => None,
            Some(Claim::Inline(text)) => Some(Bytes::from(text.clone())),
            Some(Claim::Object { name, .. }) => Some(self.0.get(name).map_err(|e| failed(name, &e))?.into()),
        };
        cx.forward(record.with_value(content.as_ref()))
    }
}

fn build_on(objects: &Objects, params: &Params) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (bytes, claim) = (serdes::bytes, serdes::json::<Claim>());
    let (putting, getting) = (objects.clone(), objects.clone());
    builder
        .stream_with(params.input(0), Consumed::with(bytes(), bytes()))
        .process_values(move || CheckIn(putting.clone()), &[])
        .to_with(params.output(0), Produced::with(bytes(), claim.clone()));
    builder
        .stream_with(params.input(1), Consumed::with(bytes(), claim))
        .process_values(move || Redeem(getting.clone()), &[])
        .to_with(params.output(1), Produced::with(bytes(), bytes()));
    builder.build()
}

fn build(params: &Params) -> Result<Topology> {
    build_on(&Objects::here(), params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream::{
        record::{Headers, RawRecord},
        testing::TestDriver,
    };

    fn record(content: &[u8]) -> RawRecord {
        let value = Some(Bytes::copy_from_slice(content));
        RawRecord { offset: 0, timestamp: 0, key: Some("k".into()), value, headers: Headers::new() }
    }

    #[test]
    fn documents_come_back_whole_over_crashes_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects(directory.path().join("objects"));
        let mut driver = TestDriver::new(build_on(&objects, &Params::defaults(&ENTRY)).unwrap()).unwrap();
        let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let documents = [b"small".to_vec(), large.clone(), vec![b'x'; INLINE_BYTES_MAX + 1], large.clone()];
        for (turns, document) in documents.iter().enumerate() {
            driver.pipe_raw_and_crash("documents", record(document), turns).unwrap();
        }
        let found = driver.read_raw("documents-redeemed").unwrap();
        assert_eq!(found.iter().filter_map(|r| r.value.clone()).collect::<Vec<_>>(), documents);
        let claims = driver.read_raw("document-claims").unwrap();
        assert!(claims.iter().all(|claim| claim.value.as_ref().unwrap().len() < 120));
        let mut names: Vec<_> =
            fs::read_dir(&objects.0).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected = [1, 2, 3].map(|n| format!("documents-0-{n}-{}", Objects::hash(&documents[n])));
        assert_eq!(names, expected, "an object for each large document, and no part of one");
    }

    #[test]
    fn a_changed_or_missing_object_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects(directory.path().to_owned());
        let name = objects.put("documents-0-7", b"content").unwrap();
        assert_eq!(objects.get(&name).unwrap(), b"content");
        fs::write(directory.path().join(&name), "other").unwrap();
        assert!(objects.get(&name).unwrap_err().to_string().contains("changed"));
        fs::remove_file(directory.path().join(&name)).unwrap();
        assert!(objects.get(&name).is_err());
    }
}
