//! Topologies that run by name. A program of your own needs no more than this: a catalogue and five lines of `main`.

mod bench;
mod cdc_users;
mod channel_stats;
mod claim_check;
mod completed_orders;
mod deduplicator;
mod enrichment;
mod etl;
mod event_router;
mod event_time_orders;
mod flights;
mod fraud_detector;
mod invoices;
mod iot_sensors;
mod kappa;
mod lambda;
mod log_alerts;
mod notifications;
mod order_aggregator;
mod order_choreography;
mod order_history;
mod order_saga;
mod order_splitter;
mod orders_cqrs;
mod outbox;
mod revenue;
mod revenue_analytics;
mod strangler;
pub mod systems;
#[cfg(test)]
mod testing;
mod versioned_events;
mod word_count;

use millstream::cli::Catalogue;

/// Every topology of this package.
pub fn catalogue() -> Catalogue {
    Catalogue::new([
        word_count::ENTRY,
        channel_stats::ENTRY,
        revenue::ENTRY,
        flights::ENTRY,
        invoices::ENTRY,
        completed_orders::ENTRY,
        event_time_orders::ENTRY,
        fraud_detector::ENTRY,
        enrichment::ENTRY,
        order_splitter::ENTRY,
        order_aggregator::ENTRY,
        event_router::ENTRY,
        deduplicator::ENTRY,
        order_saga::ENTRY,
        order_choreography::ENTRY,
        order_history::ENTRY,
        orders_cqrs::ENTRY,
        versioned_events::ENTRY,
        strangler::ENTRY,
        notifications::EMAIL,
        notifications::PUSH,
        notifications::AUDIT,
        log_alerts::ENTRY,
        iot_sensors::ENTRY,
        etl::ENTRY,
        cdc_users::ENTRY,
        outbox::ENTRY,
        revenue_analytics::ENTRY,
        lambda::BATCH,
        lambda::ENTRY,
        kappa::ENTRY,
        claim_check::ENTRY,
        bench::WINDOW_COUNT,
        bench::WINDOW_COUNT_BRIEF,
        bench::COUNT,
        bench::WINDOW_SUM,
        bench::REPARTITION_COUNT,
        bench::PASSTHROUGH,
    ])
}

#[cfg(test)]
mod tests {
    use millstream::cli::Params;

    #[test]
    fn every_topology_builds_and_names_its_topics() {
        for entry in super::catalogue().entries() {
            let topology = (entry.build)(&Params::defaults(entry)).unwrap();
            let read = [topology.external_sources(), topology.global_topics()].concat();
            let mut sources: Vec<_> = read.iter().map(ToString::to_string).collect();
            // Topics that only a record or a setting names can't be told from here.
            let chosen = |topic: &&millstream::cli::Topic| {
                !topology.external_sinks().iter().any(|sink| **sink == *topic.name)
                    && (entry.settings.iter().any(|(_, value)| *value == topic.name)
                        || topology.describe().contains("extractor class"))
            };
            let mut sinks: Vec<_> = topology.external_sinks().iter().map(ToString::to_string).collect();
            sinks.extend(entry.outputs.iter().filter(chosen).map(|topic| topic.name.to_owned()));
            sources.sort();
            sinks.sort();
            let names = |topics: &[millstream::cli::Topic]| {
                let mut names: Vec<_> = topics.iter().map(|t| t.name.to_owned()).collect();
                names.sort();
                names
            };
            assert_eq!(sources, names(entry.inputs), "{}", entry.name);
            assert_eq!(sinks, names(entry.outputs), "{}", entry.name);
        }
    }
}
