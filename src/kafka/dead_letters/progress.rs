//! Which dead letters of a partition were put back: all below an offset, and some above it. The offset is committed in a
//! consumer group, and the rest is its metadata.

use std::fmt::Write as _;

/// Bytes of metadata that brokers take with an offset (`offset.metadata.max.bytes`), with some room.
const TEXT_BYTES_MAX: usize = 4_000;

/// What was put back of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Everything below was put back.
    next: i64,
    /// Starts and ends (exclusive) above it, in order, apart from each other and from `next`.
    above: Vec<(i64, i64)>,
}

impl Progress {
    /// From a committed offset and its metadata; what doesn't look like ours is left out.
    pub fn new(next: i64, text: &str) -> Self {
        let mut above = Vec::new();
        let mut at = next;
        for pair in text.split(',') {
            let Some((gap, length)) = pair.split_once('+') else { break };
            let number = |digits: &str| i64::from_str_radix(digits, 36).ok().filter(|n| *n > 0);
            let (Some(gap), Some(length)) = (number(gap), number(length)) else { break };
            let (Some(start), Some(end)) =
                (at.checked_add(gap), at.checked_add(gap).and_then(|s| s.checked_add(length)))
            else {
                break;
            };
            above.push((start, end));
            at = end;
        }
        Self { next, above }
    }

    /// The offset to commit.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// True when the record at this offset was put back.
    pub fn has(&self, offset: i64) -> bool {
        offset < self.next || self.above.iter().any(|(start, end)| (*start..*end).contains(&offset))
    }

    /// Notes that all records from `start` up to and with `last` were put back. Offsets between records belong to the
    /// record after them: no record will ever be there.
    pub fn add(&mut self, start: i64, last: i64) {
        let (mut start, mut end) = (start.max(self.next), last.saturating_add(1).max(self.next));
        self.above.retain(|(from, to)| {
            let touches = *from <= end && start <= *to;
            if touches {
                (start, end) = (start.min(*from), end.max(*to));
            }
            !touches
        });
        if start <= self.next {
            self.next = end;
        } else {
            let at = self.above.partition_point(|(from, _)| *from < start);
            self.above.insert(at, (start, end));
        }
    }

    /// The metadata: gaps and lengths to the base of 36. `None` when it is longer than brokers take.
    pub fn text(&self) -> Option<String> {
        let (mut text, mut at) = (String::new(), self.next);
        for (start, end) in &self.above {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{}+{}", base36(start - at), base36(end - start));
            at = *end;
        }
        (text.len() <= TEXT_BYTES_MAX).then_some(text)
    }
}

fn base36(mut number: i64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        let digit = u32::try_from(number % 36).expect("a digit");
        digits.push(char::from_digit(digit, 36).expect("a digit"));
        number /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(progress: &Progress) -> Progress {
        Progress::new(progress.next(), &progress.text().unwrap())
    }

    #[test]
    fn what_is_put_back_in_order_needs_no_text() {
        let mut progress = Progress::new(7, "");
        // A marker at 9 belongs to the record at 10.
        for (start, last) in [(7, 7), (8, 8), (9, 10)] {
            progress.add(start, last);
        }
        assert_eq!((progress.next(), progress.text().as_deref()), (11, Some("")));
        assert!(progress.has(9) && !progress.has(11));
    }

    #[test]
    fn what_lies_apart_is_remembered_and_grows_together() {
        let mut progress = Progress::default();
        for offset in [5, 100, 3, 4, 101] {
            progress.add(offset, offset);
        }
        assert_eq!((progress.next(), progress.text().as_deref()), (0, Some("3+3,2m+2")));
        assert_eq!(back(&progress), progress);
        assert!(progress.has(4) && !progress.has(2) && !progress.has(6) && progress.has(101));
        progress.add(0, 2);
        assert_eq!((progress.next(), progress.text().as_deref()), (6, Some("2m+2")));
        progress.add(6, 99);
        assert_eq!(progress, Progress::new(102, ""));
        progress.add(3, 50);
        assert_eq!(progress, Progress::new(102, ""), "what was put back stays so");
    }

    #[test]
    fn the_order_in_which_records_are_put_back_does_not_matter() {
        let offsets: Vec<i64> = (0..40).filter(|n| n % 3 != 1).collect();
        let mut forward = Progress::default();
        offsets.iter().for_each(|n| forward.add(*n, *n));
        let mut backward = Progress::default();
        offsets.iter().rev().for_each(|n| {
            backward = {
                let mut b = back(&backward);
                b.add(*n, *n);
                b
            }
        });
        assert_eq!(forward, backward);
        assert!((0..60).all(|n| forward.has(n) == offsets.contains(&n)));
    }

    #[test]
    fn too_much_to_remember_is_noticed_and_foreign_metadata_is_left_out() {
        let mut progress = Progress::default();
        (1..3_000).for_each(|n| progress.add(n * 2, n * 2));
        assert_eq!(progress.text(), None);
        for text in ["hello", "3", "-1+2", "0+1", "zzzzzzzzzzzzzzzz+1"] {
            assert_eq!(Progress::new(9, text), Progress::new(9, ""), "{text}");
        }
    }
}
