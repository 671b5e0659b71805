//! From the process' settings to those of one worker.

use crate::{
    config::Config,
    operator::{ErrorSettings, OnError},
    worker::{Guarantee, Settings},
};

/// The settings of each of `threads` workers: byte limits of the process are divided among them.
pub fn worker_settings(config: &Config, threads: usize, accept_reset: bool) -> Settings {
    let share = |name: &str| config.size(name) / threads.max(1);
    let defaults = Settings::default();
    let topic = config.topic();
    let delete_retention = topic.get("delete.retention.ms").and_then(|v| v.parse().ok());
    Settings {
        guarantee: match config.text("processing.guarantee") {
            Some("at_least_once") => Guarantee::AtLeastOnce,
            _ => Guarantee::ExactlyOnceV2,
        },
        commit_interval_ms: config.int("commit.interval.ms"),
        max_task_idle_ms: config.int("max.task.idle.ms"),
        partition_queue_bytes_max: config.size("partition.queue.max.bytes"),
        queues_bytes_max: share("fetch.queue.max.bytes") / 2,
        outbox_bytes_max: config.size("transaction.outbox.max.bytes"),
        overlay_bytes_max: share("transaction.overlay.max.bytes"),
        sink_bytes_max: share("transaction.sink.max.bytes"),
        cache_bytes_max: share("statestore.cache.max.bytes"),
        table_bytes_max: share("state.memory.bytes"),
        persist_bytes: config.size("state.persist.bytes"),
        persist_interval_ms: config.int("state.persist.interval.ms"),
        changelog_deduplicate: config.is("changelog.deduplicate"),
        abort_backoff_ms: config.int("transaction.abort.backoff.ms"),
        aborts_max: u32::try_from(config.int("transaction.aborts.max")).unwrap_or(u32::MAX),
        suspended_close_ms: config.int("suspended.task.close.ms"),
        purge_interval_ms: config.int("repartition.purge.interval.ms"),
        delete_retention_ms: delete_retention.unwrap_or(defaults.delete_retention_ms),
        changelog_margin_ms: config.int("windowstore.changelog.additional.retention.ms"),
        request_bytes_max: config.size("max.request.size"),
        errors: error_settings(config),
        accept_reset,
        ..defaults
    }
}

/// What the settings say of failed and late records.
pub fn error_settings(config: &Config) -> ErrorSettings {
    let response = |name: &str| match config.text(name) {
        Some("continue") => OnError::Continue,
        Some("retry") => OnError::Retry,
        _ => OnError::Fail,
    };
    let topic = |name: &str| config.text(name).filter(|topic| !topic.is_empty()).map(Into::into);
    ErrorSettings {
        deserialization: response("deserialization.exception.handler"),
        processing: response("processing.exception.handler"),
        production: response("production.exception.handler"),
        dead_letter_topic: topic("errors.dead.letter.queue.topic.name"),
        late_topic: topic("errors.late.topic.name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-61: each thread has an equal share of the record caches.
    #[test]
    fn defaults_of_the_table_are_those_of_the_worker() {
        let config = Config::load(&[], [], None).unwrap();
        let settings = worker_settings(&config, 1, false);
        assert_eq!(settings, Settings::default());
        let halves = worker_settings(&config, 2, false);
        assert_eq!(halves.table_bytes_max, settings.table_bytes_max / 2);
        assert_eq!(halves.overlay_bytes_max, settings.overlay_bytes_max / 2);
    }
    #[test]
    fn r100_handlers_and_their_topics_come_from_the_settings() {
        let flags = [
            ("processing.exception.handler", "continue"),
            ("production.exception.handler", "retry"),
            ("errors.dead.letter.queue.topic.name", "dead"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let errors = error_settings(&Config::load(&flags, [], None).unwrap());
        assert_eq!((errors.processing, errors.production), (OnError::Continue, OnError::Retry));
        assert_eq!((errors.dead_letter_topic.as_deref(), errors.late_topic), (Some("dead"), None));
    }
}
