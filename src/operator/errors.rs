//! What happens to a record that fails: handlers, and the dead-letter topic (R-100..R-104).

use super::{Context, Dropped, Edge, Process};
use crate::{
    codec::partition_for,
    fault::{Fault, Remedy, Result},
    record::{Headers, OutRecord, Record, SourceContext, Target, TaskId, Timestamp},
};
use bytes::Bytes;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// What to do about a record that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Stop the worker.
    #[default]
    Fail,
    /// Leave out what failed, count it, go on with the next record.
    Continue,
    /// Drop the open transaction and do its records again, after a pause. For failures that pass.
    Retry,
}

/// Where a record can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes are no key or value of the source.
    Deserialization,
    /// A processor, a function of the topology or a schedule failed or panicked.
    Processing,
    /// A sink can't write it.
    Production,
}

/// What a handler may know of a record that failed.
pub struct ErrorContext<'a> {
    /// The node that failed.
    pub node: &'a str,
    /// The task.
    pub task: TaskId,
    /// Topic, partition and offset of the input record; absent in punctuation.
    pub source: Option<&'a SourceContext>,
    /// Event time of the record in hand.
    pub timestamp: Timestamp,
    /// Headers of the record in hand.
    pub headers: &'a Headers,
}

/// A handler of failed records.
pub type ErrorHandler = dyn Fn(&ErrorContext<'_>, &Fault) -> OnError + Send + Sync;

/// The handlers that a topology brings along; where it has none the settings decide.
#[derive(Clone, Default)]
pub struct ErrorHandlers {
    pub(crate) deserialization: Option<Arc<ErrorHandler>>,
    pub(crate) processing: Option<Arc<ErrorHandler>>,
    pub(crate) production: Option<Arc<ErrorHandler>>,
}

impl ErrorHandlers {
    pub(crate) fn at(&self, stage: Stage) -> Option<&Arc<ErrorHandler>> {
        match stage {
            Stage::Deserialization => self.deserialization.as_ref(),
            Stage::Processing => self.processing.as_ref(),
            Stage::Production => self.production.as_ref(),
        }
    }
}

/// What the settings say of failed and late records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorSettings {
    /// `deserialization.exception.handler`.
    pub deserialization: OnError,
    /// `processing.exception.handler`.
    pub processing: OnError,
    /// `production.exception.handler`.
    pub production: OnError,
    /// `errors.dead.letter.queue.topic.name`: where input records go that failed, whatever the handler says. Key and value are
    /// always those of the input; Kafka Streams' dead letters lose both where a sink wrote the same record before.
    pub dead_letter_topic: Option<Arc<str>>,
    /// `errors.late.topic.name`: where input records go that came too late for a window.
    pub late_topic: Option<Arc<str>>,
}

impl ErrorSettings {
    /// What they say of a stage.
    pub fn at(&self, stage: Stage) -> OnError {
        match stage {
            Stage::Deserialization => self.deserialization,
            Stage::Processing => self.processing,
            Stage::Production => self.production,
        }
    }

    /// The topics that they name, which must exist.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.dead_letter_topic.iter().chain(&self.late_topic)
    }

    /// True when nodes need to be guarded: otherwise a failure ends the worker from wherever it comes.
    pub fn guards_nodes(&self) -> bool {
        self.processing != OnError::Fail || self.dead_letter_topic.is_some()
    }
}

/// Runs code of users, whose panics are failures of the record in hand.
pub(crate) fn caught<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Fault::stop(text.unwrap_or_else(|| "a function of the topology panicked".to_owned())).panicked())
    })
}

/// Asks the handler of a stage what to do about a failure, and carries it out. The result is what the caller must still
/// do: nothing, or hand the failure on, which no other handler is asked about.
pub(crate) fn settle(
    cx: &mut dyn Context,
    stage: Stage,
    node: &str,
    (timestamp, headers): (Timestamp, &Headers),
    fault: Fault,
    own: Option<OnError>,
) -> Result<()> {
    // What the worker itself must mend, and what a handler has decided already, is nobody's choice.
    if fault.is_settled() || !matches!(fault.remedy, Remedy::Stop | Remedy::Skip) {
        return Err(fault);
    }
    let fault = if fault.place().is_empty() { fault.at(format!("node {node}")) } else { fault };
    let response = match own {
        Some(response) => response,
        None => {
            cx.on_error(stage, &ErrorContext { node, task: cx.task(), source: cx.source(), timestamp, headers }, &fault)
        }
    };
    if response != OnError::Retry {
        dead_letter(cx, stage, &fault, timestamp, headers)?;
    }
    match response {
        OnError::Continue => {
            tracing::warn!(task = %cx.task(), node, %fault, "a record is left out");
            cx.dropped(match stage {
                Stage::Deserialization => Dropped::Deserialization,
                Stage::Processing => Dropped::Processing,
                Stage::Production => Dropped::Production,
            });
            Ok(())
        }
        OnError::Fail => Err(fault.with_remedy(Remedy::Stop).settled()),
        OnError::Retry => Err(fault.with_remedy(Remedy::Rebuild).settled()),
    }
}

fn text(text: impl ToString) -> Option<Bytes> {
    Some(Bytes::from(text.to_string()))
}

/// Sends the input record in hand to the settings' dead-letter topic, if there is one.
fn dead_letter(
    cx: &mut dyn Context,
    stage: Stage,
    fault: &Fault,
    timestamp: Timestamp,
    headers: &Headers,
) -> Result<()> {
    match cx.error_settings().dead_letter_topic.clone() {
        Some(topic) => dead_letter_to(cx, topic, stage, fault, timestamp, headers),
        None => Ok(()),
    }
}

/// Sends the input record in hand to a dead-letter topic with KIP-1034's headers.
pub(crate) fn dead_letter_to(
    cx: &mut dyn Context,
    topic: Arc<str>,
    stage: Stage,
    fault: &Fault,
    timestamp: Timestamp,
    headers: &Headers,
) -> Result<()> {
    let class = match stage {
        Stage::Deserialization => "org.apache.kafka.common.errors.SerializationException",
        _ if fault.is_panic() => "panic",
        _ => "org.apache.kafka.streams.errors.StreamsException",
    };
    let mut headers = headers.clone();
    headers.add("__streams.errors.exception", text(class));
    headers.add("__streams.errors.message", text(fault.what()));
    headers.add("__streams.errors.stacktrace", text(fault));
    let source = cx.source().cloned();
    headers.add("__streams.errors.topic", source.as_ref().map(|s| Bytes::from(s.topic.to_string())));
    headers.add("__streams.errors.partition", text(source.as_ref().map_or(-1, |s| s.partition)));
    headers.add("__streams.errors.offset", text(source.as_ref().map_or(-1, |s| s.offset)));
    send_input(cx, topic, timestamp, headers)
}

/// Tells a topic of a failure of the input record in hand that is followed by another attempt: how many have failed, the
/// wall clock of the first failure, and when the next one is due.
pub(crate) fn retry_notice(
    cx: &mut dyn Context,
    topic: Arc<str>,
    fault: &Fault,
    (timestamp, headers): (Timestamp, &Headers),
    (attempts, since, due): (u32, Timestamp, Timestamp),
) -> Result<()> {
    let mut headers = headers.clone();
    headers.add("millstream.retry.attempts", text(attempts));
    headers.add("millstream.retry.first.failure.ms", text(since));
    headers.add("millstream.retry.due.ms", text(due));
    headers.add("millstream.retry.error", text(fault));
    if let Some(source) = cx.source().cloned() {
        headers.add("millstream.retry.topic", text(&source.topic));
        headers.add("millstream.retry.partition", text(source.partition));
        headers.add("millstream.retry.offset", text(source.offset));
    }
    send_input(cx, topic, timestamp, headers)
}

/// Sends the bytes of the input record in hand to a topic.
fn send_input(cx: &mut dyn Context, topic: Arc<str>, timestamp: Timestamp, headers: Headers) -> Result<()> {
    let (key, value) = cx.input().map_or((None, None), |raw| (raw.key.clone(), raw.value.clone()));
    let partitions = cx.partitions(&topic)?;
    let partition = match &key {
        Some(key) => partition_for(key, partitions),
        None => cx.default_partition(None, partitions),
    };
    cx.send(OutRecord { topic, partition, key, value, timestamp: timestamp.max(0), headers, target: Target::Sink })
}

/// Counts a record that came after the close of a window, and sends its input record to the topic for late ones, if there
/// is one: once for each window that it missed.
pub(crate) fn late(
    cx: &mut dyn Context,
    (start, end): (Timestamp, Timestamp),
    close_time: Timestamp,
    timestamp: Timestamp,
) -> Result<()> {
    cx.dropped(Dropped::Late);
    let Some(topic) = cx.error_settings().late_topic.clone() else { return Ok(()) };
    // What a cache held back has no input record in hand any more.
    let (Some(raw), Some(source)) = (cx.input(), cx.source().cloned()) else { return Ok(()) };
    let mut headers = raw.headers.clone();
    headers.add("millstream.late.reason", text("the window is closed"));
    headers.add("millstream.late.window.start", text(start));
    headers.add("millstream.late.window.end", text(end));
    headers.add("millstream.late.by.ms", text(close_time.saturating_sub(end)));
    headers.add("millstream.late.topic", text(&source.topic));
    headers.add("millstream.late.partition", text(source.partition));
    headers.add("millstream.late.offset", text(source.offset));
    send_input(cx, topic, timestamp, headers)
}

/// A node whose failures go to the handler. Its parent goes on with its other children.
struct Guarded<K, V> {
    name: Arc<str>,
    inner: Edge<K, V>,
}

impl<K, V> Process<K, V> for Guarded<K, V> {
    fn process(&self, cx: &mut dyn Context, record: Record<'_, K, V>) -> Result<()> {
        match caught(|| self.inner.process(cx, record)) {
            Ok(()) => Ok(()),
            Err(fault) => {
                let of = (record.timestamp, record.headers);
                settle(cx, Stage::Processing, &self.name, of, fault, None)
            }
        }
    }
}

/// Puts a guard before an edge to the node of this name.
pub(crate) type Guard = fn(Box<dyn Any>, Arc<str>) -> Box<dyn Any>;

/// The [`Guard`] of edges of these types.
pub(crate) fn guard<K: 'static, V: 'static>(edge: Box<dyn Any>, name: Arc<str>) -> Box<dyn Any> {
    let edge = edge.downcast::<Edge<K, V>>().expect("an edge of the node's own types");
    let guarded: Edge<K, V> = std::rc::Rc::new(Guarded { name, inner: *edge });
    Box::new(guarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{operator::testkit::Kit, record::RawRecord};

    fn failing(cx: &mut Kit, fault: Fault) -> Result<()> {
        let headers: Headers = [("h".to_owned(), None)].into_iter().collect();
        settle(cx, Stage::Processing, "node", (5, &headers), fault, None)
    }

    fn kit(response: OnError) -> Kit {
        let mut kit = Kit::key_value();
        kit.errors.processing = response;
        kit.errors.dead_letter_topic = Some("dead".into());
        kit.source = Some(SourceContext { topic: "in".into(), partition: 2, offset: 7 });
        let (key, value) = (Some("k".into()), Some("v".into()));
        kit.input = Some(RawRecord { offset: 7, timestamp: 5, key, value, headers: Headers::new() });
        kit
    }

    #[test]
    fn r104_what_failed_goes_to_the_dead_letter_topic_as_it_came() {
        let mut kit = kit(OnError::Continue);
        failing(&mut kit, Fault::stop("boom")).unwrap();
        assert_eq!(kit.dropped, [Dropped::Processing]);
        let [sent] = &kit.sent[..] else { panic!("one record") };
        assert_eq!((&*sent.topic, sent.timestamp, sent.value.as_deref()), ("dead", 5, Some(&b"v"[..])));
        let names: Vec<_> = sent.headers.iter().map(|(name, _)| name.rsplit('.').next().unwrap()).collect();
        assert_eq!(names, ["h", "exception", "message", "stacktrace", "topic", "partition", "offset"]);
        assert_eq!(sent.headers.last("__streams.errors.message"), Some(Some(&Bytes::from("boom"))));
        assert_eq!(sent.headers.last("__streams.errors.offset"), Some(Some(&Bytes::from("7"))));
    }

    #[test]
    fn r102_a_failure_is_settled_once() {
        let mut kit = kit(OnError::Fail);
        let fault = failing(&mut kit, Fault::stop("boom")).unwrap_err();
        assert_eq!((fault.remedy, kit.sent.len()), (Remedy::Stop, 1));
        kit.errors.processing = OnError::Continue;
        assert!(failing(&mut kit, fault).is_err());
        assert_eq!(failing(&mut kit, Fault::rejoin("lost")).unwrap_err().remedy, Remedy::Rejoin);
        assert_eq!(kit.sent.len(), 1);
    }

    #[test]
    fn retry_does_the_transaction_again_and_writes_no_dead_letter() {
        let mut kit = kit(OnError::Retry);
        assert_eq!(failing(&mut kit, Fault::stop("boom")).unwrap_err().remedy, Remedy::Rebuild);
        assert!(kit.sent.is_empty());
    }

    #[test]
    fn a_panic_is_a_failure() {
        let fault = caught::<()>(|| panic!("at {}", 7)).unwrap_err();
        assert!(fault.is_panic() && fault.what() == "at 7");
    }

    #[test]
    fn a_late_record_goes_to_its_topic_with_the_window_that_it_missed() {
        let mut kit = kit(OnError::Fail);
        late(&mut kit, (0, 10), 15, 5).unwrap();
        assert!(kit.sent.is_empty());
        kit.errors.late_topic = Some("late".into());
        late(&mut kit, (0, 10), 15, 5).unwrap();
        let header = |name: &str| kit.sent[0].headers.last(name).flatten().cloned();
        assert_eq!(header("millstream.late.window.end"), Some("10".into()));
        assert_eq!(header("millstream.late.by.ms"), Some("5".into()));
        assert_eq!(kit.dropped, [Dropped::Late, Dropped::Late]);
    }
}
