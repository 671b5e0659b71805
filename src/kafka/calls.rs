//! Says which client call a stream thread is in, so that one that never returns has a name.

use std::sync::Arc;

/// Takes the number of a stream thread, a call, and whether the thread enters it or is back from it. A commit is made
/// beside other calls.
pub type TellCall = dyn Fn(usize, &'static str, bool) + Send + Sync;

/// Tells of the calls of one stream thread.
#[derive(Clone)]
pub(super) struct Calls {
    thread: usize,
    tell: Arc<TellCall>,
}

impl Calls {
    /// For stream thread `thread`.
    pub fn new(thread: usize, tell: Arc<TellCall>) -> Self {
        Self { thread, tell }
    }

    /// The thread is in this call until the value is dropped.
    #[must_use]
    pub fn enter(&self, call: &'static str) -> InCall {
        (self.tell)(self.thread, call, true);
        InCall(self.clone(), call)
    }
}

/// A call that a thread is in.
pub(super) struct InCall(Calls, &'static str);

impl Drop for InCall {
    fn drop(&mut self) {
        (self.0.tell)(self.0.thread, self.1, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_call_is_told_at_both_ends() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let here = Arc::clone(&told);
        let calls =
            Calls::new(3, Arc::new(move |thread, call, inside| here.lock().unwrap().push((thread, call, inside))));
        let inside = calls.enter("seek");
        assert_eq!(*told.lock().unwrap(), [(3, "seek", true)]);
        drop(inside);
        assert_eq!(*told.lock().unwrap(), [(3, "seek", true), (3, "seek", false)]);
    }
}
