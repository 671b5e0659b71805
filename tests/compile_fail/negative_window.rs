//! Times are not negative. Kafka Streams: IllegalArgumentException when the window is made.

use millstream::operator::TimeWindows;
use std::time::Duration;

fn main() {
    TimeWindows::of_size_with_no_grace(Duration::from_millis(
        -1, //~ E0600
    ));
}
