//! Safe wrappers for the calls of librdkafka that rdkafka does not offer, or offers slowly.

use crate::record::{Headers, Offset, OutRecord, RawRecord};
use bytes::{Bytes, BytesMut};
use rdkafka::{TopicPartitionList, error::RDKafkaErrorCode, types::RDKafkaRespErr};
use rdkafka_sys as sys;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
    sync::Arc,
    thread::Thread,
};

/// An error of librdkafka with what it says about the transaction.
#[derive(Debug)]
pub(super) struct RawError {
    pub code: RDKafkaErrorCode,
    pub text: String,
    /// The client is of no use any more.
    pub fatal: bool,
    /// The call goes on in the background: call again.
    pub retriable: bool,
    /// The transaction must be aborted.
    pub abortable: bool,
}

impl std::fmt::Display for RawError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.text, self.code)
    }
}

/// Takes an error object over; null is success.
pub(super) fn checked(error: *mut sys::rd_kafka_error_t) -> Result<(), RawError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: `error` is a live error object that the call handed over; it is destroyed once, after its last use.
    unsafe {
        let raw = RawError {
            code: sys::rd_kafka_error_code(error).into(),
            text: text(sys::rd_kafka_error_string(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abortable: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(raw)
    }
}

fn plain(code: RDKafkaErrorCode) -> RawError {
    RawError { code, text: code.to_string(), fatal: false, retriable: false, abortable: false }
}

/// # Safety
/// `text` is null or a C string that lives during the call.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A name as C wants it; names with a zero byte can't exist in Kafka and become empty.
pub(super) fn c(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

extern "C" fn unpark(_: *mut sys::rd_kafka_t, thread: *mut c_void) {
    // SAFETY: `Queue` keeps the thread handle alive until it has taken the callback away.
    unsafe { &*thread.cast::<Thread>() }.unpark();
}

/// A reference to a queue of a client. All of them must be gone before the client is, or its end hangs.
pub(super) struct Queue {
    queue: *mut sys::rd_kafka_queue_t,
    waker: Arc<Thread>,
}

impl Queue {
    /// The queue of a partition, kept apart from the consumer's own queue. To be called before the partition is
    /// assigned. `waker` is unparked when records come.
    pub fn of_partition(rk: *mut sys::rd_kafka_t, topic: &str, partition: i32, waker: &Arc<Thread>) -> Option<Self> {
        let topic = c(topic);
        // SAFETY: `rk` is a live consumer; the queue reference is ours and is destroyed in `drop`.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(rk, topic.as_ptr(), partition) };
        if queue.is_null() {
            return None;
        }
        // SAFETY: a forward to null marks the queue as the application's, so that an assignment leaves it alone.
        unsafe { sys::rd_kafka_queue_forward(queue, ptr::null_mut()) };
        Some(Self::waking(queue, waker))
    }

    /// The consumer's own queue: it carries events of the group.
    pub fn of_consumer(rk: *mut sys::rd_kafka_t, waker: &Arc<Thread>) -> Option<Self> {
        // SAFETY: as above.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(rk) };
        (!queue.is_null()).then(|| Self::waking(queue, waker))
    }

    fn waking(queue: *mut sys::rd_kafka_queue_t, waker: &Arc<Thread>) -> Self {
        let waker = Arc::clone(waker);
        // SAFETY: `drop` removes the callback before the handle goes.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue, Some(unpark), Arc::as_ptr(&waker).cast_mut().cast()) };
        Self { queue, waker }
    }

    /// Takes at most `max` messages that are there already, or waits for the first up to `timeout_ms`.
    pub fn consume(&self, timeout_ms: c_int, max: usize) -> Batch {
        let mut messages: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(max);
        // SAFETY: the call writes at most `max` owned messages; only one thread consumes from a client.
        let count = unsafe { sys::rd_kafka_consume_batch_queue(self.queue, timeout_ms, messages.as_mut_ptr(), max) };
        // SAFETY: the first `count` entries were written.
        unsafe { messages.set_len(usize::try_from(count).unwrap_or(0)) };
        Batch(messages)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _alive_until_here = &self.waker;
        // SAFETY: the reference is ours; the callback goes before the handle that it points to.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Messages of one partition.
pub(super) struct Batch(Vec<*mut sys::rd_kafka_message_t>);

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The offset of the last end-of-partition mark: every record and marker below it has been read.
    pub fn end_mark(&self) -> Option<Offset> {
        // SAFETY: the messages are ours and live until `drop`.
        let messages = self.0.iter().map(|m| unsafe { &**m });
        messages.filter(|m| m.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF).map(|m| m.offset).next_back()
    }

    /// The records, their bytes in one shared buffer, and the errors that came between them.
    pub fn records(&self) -> (Vec<RawRecord>, Vec<RDKafkaErrorCode>) {
        // SAFETY: the messages are ours and live until `drop`.
        let messages = || self.0.iter().map(|m| unsafe { &**m });
        let errors = messages()
            .filter(|m| {
                !matches!(
                    m.err,
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR | RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF
                )
            })
            .map(|m| RDKafkaErrorCode::from(m.err))
            .collect();
        let good = || messages().filter(|m| m.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
        let mut buffer = BytesMut::with_capacity(good().map(|m| m.key_len + m.len).sum());
        for m in good() {
            // SAFETY: key and payload point to so many bytes, or are null.
            unsafe {
                buffer.extend_from_slice(bytes(m.key, m.key_len));
                buffer.extend_from_slice(bytes(m.payload, m.len));
            }
        }
        let shared = buffer.freeze();
        let mut at = 0;
        let mut slice = |pointer: *mut c_void, len: usize| {
            let len = if pointer.is_null() { 0 } else { len };
            let part = (!pointer.is_null()).then(|| shared.slice(at..at + len));
            at += len;
            part
        };
        let records = good()
            .map(|m| RawRecord {
                offset: m.offset,
                // SAFETY: the message lives; the type of the timestamp is not asked for.
                timestamp: unsafe { sys::rd_kafka_message_timestamp(m, ptr::null_mut()) },
                key: slice(m.key, m.key_len),
                value: slice(m.payload, m.len),
                headers: headers(m),
            })
            .collect();
        (records, errors)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for message in &self.0 {
            // SAFETY: each message is ours and destroyed once.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
    }
}

/// # Safety
/// `pointer` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> &'a [u8] {
    if pointer.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(pointer.cast(), len) }
}

fn headers(message: &sys::rd_kafka_message_t) -> Headers {
    let mut list = ptr::null_mut();
    // SAFETY: the message lives; the list belongs to it.
    let err = unsafe { sys::rd_kafka_message_headers(message, &raw mut list) };
    let mut headers = Headers::new();
    if err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return headers;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list lives as long as the message; the out parameters are valid.
        unsafe {
            let err = sys::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size);
            if err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            headers.add(text(name), (!value.is_null()).then(|| Bytes::copy_from_slice(bytes(value, size))));
        }
    }
    headers
}

/// The handle of a topic, for sending without looking its name up.
pub(super) struct TopicHandle(*mut sys::rd_kafka_topic_t);

// SAFETY: librdkafka's handles may be used from any thread, and this one is the only reference through us.
unsafe impl Send for TopicHandle {}

impl TopicHandle {
    pub fn new(rk: *mut sys::rd_kafka_t, topic: &str) -> Option<Self> {
        let name = c(topic);
        // SAFETY: `rk` is a live producer; no configuration of its own.
        let handle = unsafe { sys::rd_kafka_topic_new(rk, name.as_ptr(), ptr::null_mut()) };
        (!handle.is_null()).then_some(Self(handle))
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_topic_destroy(self.0) };
    }
}

fn vu(vtype: sys::rd_kafka_vtype_t, u: sys::rd_kafka_vu_s__bindgen_ty_1) -> sys::rd_kafka_vu_t {
    sys::rd_kafka_vu_t { vtype, u }
}

fn memory(part: Option<&Bytes>) -> sys::rd_kafka_vu_s__bindgen_ty_1 {
    // An empty value is not null: the pointer of an empty `Bytes` dangles but is never read.
    let (ptr, size) = part.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()));
    sys::rd_kafka_vu_s__bindgen_ty_1 { mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size } }
}

/// Puts a copy of a record into the client's queue.
pub(super) fn produce(rk: *mut sys::rd_kafka_t, topic: &TopicHandle, record: &OutRecord) -> Result<(), RawError> {
    use sys::{rd_kafka_vtype_t as V, rd_kafka_vu_s__bindgen_ty_1 as U};
    const COPY: c_int = 2;
    let mut parts = [
        vu(V::RD_KAFKA_VTYPE_RKT, U { rkt: topic.0 }),
        vu(V::RD_KAFKA_VTYPE_PARTITION, U { i32_: record.partition }),
        vu(V::RD_KAFKA_VTYPE_MSGFLAGS, U { i: COPY }),
        vu(V::RD_KAFKA_VTYPE_VALUE, memory(record.value.as_ref())),
        vu(V::RD_KAFKA_VTYPE_KEY, memory(record.key.as_ref())),
        vu(V::RD_KAFKA_VTYPE_TIMESTAMP, U { i64_: record.timestamp }),
        vu(V::RD_KAFKA_VTYPE_END, U { i: 0 }),
    ];
    let mut count = parts.len() - 1;
    let mut list = ptr::null_mut();
    if !record.headers.is_empty() {
        // SAFETY: a new list, filled from live names and values, which are copied.
        unsafe {
            list = sys::rd_kafka_headers_new(4);
            for (name, value) in record.headers.iter() {
                let (value, size) = value.map_or((ptr::null(), 0), |v| (v.as_ptr().cast(), v.len()));
                sys::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, value, size as isize);
            }
        }
        parts[count] = vu(V::RD_KAFKA_VTYPE_HEADERS, U { headers: list });
        count += 1;
    }
    // SAFETY: all pointers live during the call and are copied from; on success the header list is the message's.
    let result = checked(unsafe { sys::rd_kafka_produceva(rk, parts.as_ptr(), count) });
    if result.is_err() && !list.is_null() {
        // SAFETY: after a failure the list is still ours.
        unsafe { sys::rd_kafka_headers_destroy(list) };
    }
    result
}

/// Starts a transaction.
pub(super) fn begin(rk: *mut sys::rd_kafka_t) -> Result<(), RawError> {
    // SAFETY: `rk` is a live transactional producer; so in the three calls below.
    checked(unsafe { sys::rd_kafka_begin_transaction(rk) })
}

/// Registers the transactional id; what an earlier owner left open is aborted.
pub(super) fn init(rk: *mut sys::rd_kafka_t, timeout_ms: c_int) -> Result<(), RawError> {
    // SAFETY: as above.
    checked(unsafe { sys::rd_kafka_init_transactions(rk, timeout_ms) })
}

/// One slice of a commit; retriable means that it goes on.
pub(super) fn commit(rk: *mut sys::rd_kafka_t, timeout_ms: c_int) -> Result<(), RawError> {
    // SAFETY: as above.
    checked(unsafe { sys::rd_kafka_commit_transaction(rk, timeout_ms) })
}

/// One slice of an abort; retriable means that it goes on, once delivery reports were polled.
pub(super) fn abort(rk: *mut sys::rd_kafka_t, timeout_ms: c_int) -> Result<(), RawError> {
    // SAFETY: as above.
    checked(unsafe { sys::rd_kafka_abort_transaction(rk, timeout_ms) })
}

/// Waits until all that was sent is delivered or has failed. False when the time was not enough.
pub(super) fn flush(rk: *mut sys::rd_kafka_t, timeout_ms: c_int) -> bool {
    // SAFETY: `rk` is a live producer.
    unsafe { sys::rd_kafka_flush(rk, timeout_ms) == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR }
}

/// Adds offsets to the transaction under exactly this identity.
pub(super) fn send_offsets(
    rk: *mut sys::rd_kafka_t,
    offsets: &TopicPartitionList,
    group: &str,
    identity: &crate::worker::GroupMetadata,
    timeout_ms: c_int,
) -> Result<(), RawError> {
    let (group, member) = (c(group), c(&identity.member));
    let instance = identity.instance.as_deref().map(c);
    let instance = instance.as_ref().map_or(ptr::null(), |i| i.as_ptr());
    // SAFETY: the strings live during the call; the metadata is ours and destroyed after its only use.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata_new_with_genid(
            group.as_ptr(),
            identity.generation,
            member.as_ptr(),
            instance,
        );
        let error = sys::rd_kafka_send_offsets_to_transaction(rk, offsets.ptr(), metadata, timeout_ms);
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        checked(error)
    }
}

/// Identity of a consumer in its group at this moment.
pub(super) fn identity(rk: *mut sys::rd_kafka_t) -> Option<crate::worker::GroupMetadata> {
    // SAFETY: `rk` is a live consumer; the metadata is ours and outlives the strings read from it.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(rk);
        if metadata.is_null() {
            return None;
        }
        let instance = text(sys::rd_kafka_consumer_group_metadata_group_instance_id(metadata));
        let identity = crate::worker::GroupMetadata {
            generation: sys::rd_kafka_consumer_group_metadata_generation_id(metadata),
            member: text(sys::rd_kafka_consumer_group_metadata_member_id(metadata)),
            instance: (!instance.is_empty()).then_some(instance),
        };
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        Some(identity)
    }
}

/// The end of a partition as the last fetch told it; `None` before the first.
pub(super) fn cached_end(rk: *mut sys::rd_kafka_t, topic: &CStr, partition: i32) -> Option<Offset> {
    let (mut low, mut high) = (-1, -1);
    // SAFETY: `rk` lives; the out parameters are valid. No request is sent.
    let err =
        unsafe { sys::rd_kafka_get_watermark_offsets(rk, topic.as_ptr(), partition, &raw mut low, &raw mut high) };
    (err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// An error for a call that gave nothing back.
pub(super) fn nothing() -> RawError {
    plain(RDKafkaErrorCode::Fail)
}
