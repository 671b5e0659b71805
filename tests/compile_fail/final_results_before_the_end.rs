//! A buffer that lets rows go early has no final results.

use millstream::{
    record::Windowed,
    topology::{BufferConfig, Suppressed},
};

fn main() {
    let small = BufferConfig::max_records(10);
    let _: Suppressed<Windowed<String>> = Suppressed::until_window_closes(
        small, //~ E0308
    );
}
