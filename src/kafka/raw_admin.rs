//! What rdkafka's admin client does not offer: two requests, and the errors of its connections.

use super::raw::{RawError, c, checked, nothing, text};
use rdkafka::{error::RDKafkaErrorCode, types::RDKafkaRespErr};
use rdkafka_sys as sys;
use std::{ffi::c_int, ptr};

/// Sends a request and reads its answer. `send` gets options and the queue to answer on; `read` the answer.
fn ask<T>(
    rk: *mut sys::rd_kafka_t,
    op: sys::rd_kafka_admin_op_t,
    timeout_ms: c_int,
    send: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<T, RawError>,
) -> Result<T, RawError> {
    // SAFETY: `rk` is a live client; queue, options and event are ours and destroyed after their last use.
    unsafe {
        let queue = sys::rd_kafka_queue_new(rk);
        let options = sys::rd_kafka_AdminOptions_new(rk, op);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        send(options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms + 1_000);
        let result = if event.is_null() {
            Err(nothing())
        } else {
            let err = sys::rd_kafka_event_error(event);
            let result = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                read(event)
            } else {
                let text = text(sys::rd_kafka_event_error_string(event));
                Err(RawError { text, code: err.into(), ..nothing() })
            };
            sys::rd_kafka_event_destroy(event);
            result
        };
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        result
    }
}

/// The last error that the client has met since the former call, other than that no broker is left. It carries what
/// TLS and the log-in said. For clients whose events nobody else takes.
pub(super) fn complaint(rk: *mut sys::rd_kafka_t) -> Option<String> {
    let mut last = None;
    // SAFETY: `rk` is a live client; queue reference and events are ours and destroyed after their last use.
    unsafe {
        let queue = sys::rd_kafka_queue_get_main(rk);
        loop {
            let event = sys::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let code: RDKafkaErrorCode = sys::rd_kafka_event_error(event).into();
            if !matches!(code, RDKafkaErrorCode::NoError | RDKafkaErrorCode::AllBrokersDown) {
                last = Some(text(sys::rd_kafka_event_error_string(event)));
            }
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
    }
    last
}

/// Sets one setting of a topic and leaves the others as they are.
pub(super) fn alter_topic(
    rk: *mut sys::rd_kafka_t,
    topic: &str,
    name: &str,
    value: &str,
    timeout_ms: c_int,
) -> Result<(), RawError> {
    let (topic, name, value) = (c(topic), c(name), c(value));
    // SAFETY: the strings live during the calls; the resource is ours.
    let resource = unsafe {
        sys::rd_kafka_ConfigResource_new(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic.as_ptr())
    };
    // SAFETY: as above.
    let set = checked(unsafe {
        sys::rd_kafka_ConfigResource_add_incremental_config(
            resource,
            name.as_ptr(),
            sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
            value.as_ptr(),
        )
    });
    let result = set.and_then(|()| {
        ask(
            rk,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
            timeout_ms,
            |options, queue| {
                let mut resources = [resource];
                // SAFETY: one live resource.
                unsafe { sys::rd_kafka_IncrementalAlterConfigs(rk, resources.as_mut_ptr(), 1, options, queue) };
            },
            |event| {
                // SAFETY: the event is of the kind asked for; what it holds lives as long as it.
                unsafe {
                    let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event);
                    let mut count = 0;
                    let all = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
                    for index in 0..count {
                        let one = *all.add(index);
                        let code: RDKafkaErrorCode = sys::rd_kafka_ConfigResource_error(one).into();
                        if code != RDKafkaErrorCode::NoError {
                            let text = text(sys::rd_kafka_ConfigResource_error_string(one));
                            return Err(RawError { text, code, ..nothing() });
                        }
                    }
                }
                Ok(())
            },
        )
    });
    // SAFETY: ours, destroyed once.
    unsafe { sys::rd_kafka_ConfigResource_destroy(resource) };
    result
}

/// The ids of topics, in the order asked for. A topic made again has another one.
pub(super) fn topic_ids(rk: *mut sys::rd_kafka_t, topics: &[&str], timeout_ms: c_int) -> Result<Vec<String>, RawError> {
    let names: Vec<_> = topics.iter().map(|t| c(t)).collect();
    let mut pointers: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
    // SAFETY: the names live during the call, which copies them.
    let collection = unsafe { sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()) };
    let result = ask(
        rk,
        sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        timeout_ms,
        // SAFETY: a live collection.
        |options, queue| unsafe { sys::rd_kafka_DescribeTopics(rk, collection, options, queue) },
        |event| {
            // SAFETY: the event is of the kind asked for; what it holds lives as long as it.
            unsafe {
                let result = sys::rd_kafka_event_DescribeTopics_result(event);
                let mut count = 0;
                let all = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                let mut found = std::collections::BTreeMap::new();
                for index in 0..count {
                    let one = *all.add(index);
                    let id = sys::rd_kafka_TopicDescription_topic_id(one);
                    if !id.is_null() {
                        let name = text(sys::rd_kafka_TopicDescription_name(one));
                        found.insert(name, text(sys::rd_kafka_Uuid_base64str(id)));
                    }
                }
                Ok(topics.iter().map(|t| found.remove(*t).unwrap_or_default()).collect())
            }
        },
    );
    // SAFETY: ours, destroyed once.
    unsafe { sys::rd_kafka_TopicCollection_destroy(collection) };
    result
}
