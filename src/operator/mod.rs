//! The operators, one per file, and the two traits they are built on: [`Process`] and [`Context`].

pub(crate) mod aggregate;
pub(crate) mod branch;
mod context;
pub(crate) mod extract;
pub(crate) mod filter;
pub(crate) mod fixed_key;
pub(crate) mod flat_map;
pub(crate) mod flat_map_values;
pub(crate) mod getter;
pub(crate) mod map;
pub(crate) mod map_values;
pub(crate) mod pass;
pub(crate) mod peek;
mod process;
pub(crate) mod processing;
pub(crate) mod processor;
pub(crate) mod rows;
pub(crate) mod select_key;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod stream_table_join;
pub(crate) mod table_aggregate;
pub(crate) mod table_map;
pub(crate) mod table_regroup;
pub(crate) mod table_source;
pub(crate) mod table_store;
pub(crate) mod table_table_join;
pub(crate) mod table_transform;
#[cfg(test)]
mod testkit;
pub(crate) mod to_stream;
pub(crate) mod window_aggregate;
mod windows;

pub use context::{Context, Dropped, Punctuation, ScheduleId, TimeSlot};
pub use extract::ExtractTime;
pub use fixed_key::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord};
pub use process::{Children, Edge, Node, Process, Source};
pub use processing::ProcessingContext;
pub use processor::{Processor, ProcessorContext};
pub use sink::{Route, StreamPartitioner, TopicNameExtractor};
pub use source::OnDecodeError;
pub use table_transform::ValueTransformer;
pub use windows::{EmitStrategy, TimeWindows};
