//! Rights on a broker with an authorizer.

use crate::support::Broker;
use rdkafka_sys as sys;
use std::ffi::{CStr, CString};
use sys::rd_kafka_AclOperation_t as Op;

/// Lets a user do things with everything of a kind whose name begins with `name`.
#[expect(unsafe_code, reason = "rdkafka offers no call for rights")]
pub fn grant(broker: &Broker, user: &str, kind: &str, name: &str, operations: &[&str]) {
    let admin = broker.admin();
    let rk = admin.inner().native_ptr();
    let c = |text: &str| CString::new(text).expect("no zero byte");
    let kind = match kind {
        "topic" => sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
        "group" => sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP,
        _ => sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
    };
    for operation in operations {
        let operation = match *operation {
            "READ" => Op::RD_KAFKA_ACL_OPERATION_READ,
            "WRITE" => Op::RD_KAFKA_ACL_OPERATION_WRITE,
            "CREATE" => Op::RD_KAFKA_ACL_OPERATION_CREATE,
            "DESCRIBE_CONFIGS" => Op::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
            _ => Op::RD_KAFKA_ACL_OPERATION_DESCRIBE,
        };
        let (name, principal, host) = (c(name), c(&format!("User:{user}")), c("*"));
        // SAFETY: a live client, strings that outlive the calls, and objects that are ours and destroyed once.
        unsafe {
            let mut text = [0; 256];
            let acl = sys::rd_kafka_AclBinding_new(
                kind,
                name.as_ptr(),
                sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED,
                principal.as_ptr(),
                host.as_ptr(),
                operation,
                sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
                text.as_mut_ptr(),
                text.len(),
            );
            assert!(!acl.is_null(), "{:?}", CStr::from_ptr(text.as_ptr()));
            let queue = sys::rd_kafka_queue_new(rk);
            sys::rd_kafka_CreateAcls(rk, [acl].as_mut_ptr(), 1, std::ptr::null(), queue);
            let event = sys::rd_kafka_queue_poll(queue, 30_000);
            assert!(!event.is_null(), "no answer");
            let mut count = 0;
            let results =
                sys::rd_kafka_CreateAcls_result_acls(sys::rd_kafka_event_CreateAcls_result(event), &raw mut count);
            assert!(count == 1 && sys::rd_kafka_acl_result_error(*results).is_null(), "the right is not granted");
            sys::rd_kafka_event_destroy(event);
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AclBinding_destroy(acl);
        }
    }
}
