//! Tasks run on several threads. Kafka Streams: a race that nobody sees.

use millstream::topology::StreamsBuilder;
use std::{cell::Cell, rc::Rc};

fn main() {
    let seen = Rc::new(Cell::new(0));
    let words = StreamsBuilder::new().stream::<String, String>("words");
    words.for_each(
        move |_, _| seen.set(seen.get() + 1), //~ E0277
    );
}
