//! Fetches by partition, each under the number that the worker gave it.

use super::{ClientConfig, Reset};
use crate::{
    log::{Isolation, Log, LogError},
    record::{Offset, TopicPartition},
    worker::{Event, Fetch, From},
};
use std::collections::BTreeMap;

struct Flow {
    fetch: Fetch,
    from: From,
    position: Option<Offset>,
    on: bool,
    /// Position and end as the worker knows them.
    told: Option<(Offset, Offset)>,
    /// An answer on its way to the worker.
    response: Option<Event>,
}

#[derive(Default)]
pub(super) struct Fetches {
    flows: BTreeMap<TopicPartition, Flow>,
    /// The flow to look at next, so that no partition waits for ever.
    next: usize,
    pub(super) stale: Vec<Event>,
    /// Whether answers that came too late are kept for [`super::Client::deliver_stale`].
    pub(super) keep_stale: bool,
}

impl Fetches {
    pub(super) fn start(&mut self, fetch: Fetch, partition: TopicPartition, from: From) {
        let position = match from {
            From::Offset(offset) => Some(offset),
            From::Reset | From::Start => None,
        };
        let flow = Flow { fetch, from, position, on: true, told: None, response: None };
        if let Some(old) = self.flows.insert(partition, flow) {
            self.outdated(old);
        }
    }

    pub(super) fn flow(&mut self, partition: &TopicPartition, on: bool) {
        if let Some(flow) = self.flows.get_mut(partition) {
            flow.on = on;
        }
    }

    /// The assignment is over.
    pub(super) fn stop(&mut self) {
        for flow in std::mem::take(&mut self.flows).into_values() {
            self.outdated(flow);
        }
        self.next = 0;
    }

    fn outdated(&mut self, flow: Flow) {
        if self.keep_stale {
            self.stale.extend(flow.response);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.flows.get(partition)?.position
    }

    /// Asks for the next partition in turn that has news.
    pub(super) fn fetch(&mut self, log: &Log, config: &ClientConfig) -> bool {
        let first = self.next;
        for pass in 0..2 {
            for (at, (partition, flow)) in self.flows.iter_mut().enumerate() {
                let turn = if pass == 0 { at >= first } else { at < first };
                if turn && flow.on && flow.response.is_none() && flow.ask(partition, log, config) {
                    self.next = at + 1;
                    return true;
                }
            }
        }
        false
    }

    pub(super) fn take(&mut self) -> Option<Event> {
        self.flows.values_mut().find(|f| f.on && f.response.is_some())?.response.take()
    }
}

impl Flow {
    /// Asks the log. True when there is something new for the worker.
    fn ask(&mut self, partition: &TopicPartition, log: &Log, config: &ClientConfig) -> bool {
        let position = match self.position {
            Some(position) => position,
            None => {
                let end = log.stable_end(partition);
                let resolved =
                    if self.from == From::Reset && config.reset == Reset::Latest { end } else { log.start(partition) };
                // A topic that is not there (yet) has no position.
                let (Ok(position), Ok(end)) = (resolved, end) else { return false };
                self.position = Some(position);
                self.tell(partition, position, end);
                return true;
            }
        };
        match log.fetch(partition, position, Isolation::ReadCommitted, config.fetch_bytes_max) {
            Ok(fetched) if !fetched.records.is_empty() => {
                self.position = Some(fetched.position);
                self.told = Some((fetched.position, fetched.end));
                self.response = Some(Event::Records {
                    fetch: self.fetch,
                    partition: partition.clone(),
                    records: fetched.records,
                    position: fetched.position,
                    end: fetched.end,
                });
                true
            }
            Ok(fetched) if self.told != Some((fetched.position, fetched.end)) => {
                self.position = Some(fetched.position);
                self.tell(partition, fetched.position, fetched.end);
                true
            }
            Err(LogError::OutOfRange { .. }) => {
                self.position = None;
                self.from = From::Reset;
                true
            }
            _ => false,
        }
    }

    fn tell(&mut self, partition: &TopicPartition, position: Offset, end: Offset) {
        self.told = Some((position, end));
        self.response = Some(Event::Position { fetch: self.fetch, partition: partition.clone(), position, end });
    }
}
