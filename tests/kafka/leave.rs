//! A process that was asked to stop is out of the group when it has ended: whoever joins next waits for nobody.

use crate::{
    counting::{Job, feed},
    support::{Broker, until},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

#[test]
fn the_group_is_empty_when_the_process_has_ended() {
    let broker = Broker::shared();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "leave");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (broker, job, over) = (&broker, &job, &over);
        scope.spawn(move || {
            let (producer, mut n) = (broker.producer(), 0);
            while !over.load(Ordering::Relaxed) {
                feed(&producer, &job.input, n..n + 2_000, Some(20));
                n += 2_000;
            }
        });
        let _at_the_end = Over(over);
        // Stopped at work, and with members that are still joining.
        for members in [8, 2, 8, 5] {
            let mut worker =
                job.start(dir.path(), "w", &["--set", "num.stream.threads=8", "--set", "session.timeout.ms=30000"]);
            until("the members join", || broker.members(&job.app).len() >= members);
            if members == 8 {
                let before = job.done();
                until("they commit", || job.done() > before);
            }
            let asked = Instant::now();
            worker.signal("TERM");
            let status = worker.wait(Duration::from_secs(40));
            let left = broker.members(&job.app);
            assert!(status.success() && left.is_empty(), "{status}, still in the group: {left:?}; {}", worker.log());
            eprintln!("stopped after {:?} with {members} members", asked.elapsed());
            // Nobody waits for a session to end.
            assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        }
    });
}

/// Ends the load, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
