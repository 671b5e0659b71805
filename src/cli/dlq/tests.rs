use super::*;
use crate::record::{Headers, RawRecord};

/// Letters in memory; those that were put back are kept in order.
#[derive(Default)]
struct Kept {
    letters: Vec<Letter>,
    back: Vec<OutRecord>,
}

impl Letters for Kept {
    fn counts(&self) -> BTreeMap<Arc<str>, i32> {
        BTreeMap::from([("orders".into(), 2), ("dead".into(), 1)])
    }

    fn read(&mut self, visit: &mut dyn FnMut(&Letter) -> Result<()>) -> Result<()> {
        self.letters.iter().try_for_each(visit)
    }

    fn replay(&mut self, _: usize, choose: &mut dyn FnMut(&Letter) -> Result<Option<OutRecord>>) -> Result<u64> {
        let before = self.back.len();
        for letter in &mut self.letters {
            if let Some(record) = choose(letter)? {
                letter.replayed = true;
                self.back.push(record);
            }
        }
        Ok((self.back.len() - before) as u64)
    }
}

fn kept(topics: &[&str]) -> Kept {
    let letter = |(offset, topic): (usize, &&str)| {
        let headers: Headers = [("__streams.errors.topic", *topic), ("__streams.errors.partition", "1")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned().into())))
            .collect();
        let (key, value) = (Some(format!("k{offset}").into()), Some("v".into()));
        Letter {
            partition: 0,
            record: RawRecord { offset: offset as i64, timestamp: 5, key, value, headers },
            replayed: false,
        }
    };
    Kept { letters: topics.iter().enumerate().map(letter).collect(), back: Vec::new() }
}

fn printed(run: impl FnOnce(&mut dyn Write) -> Result<Ending>) -> (String, Result<Ending>) {
    let mut out = Vec::new();
    let ending = run(&mut out);
    (String::from_utf8(out).unwrap(), ending)
}

#[test]
fn a_dry_run_says_what_a_run_does_and_a_second_run_does_nothing() {
    let (mut kept, filter) = (kept(&["orders", "orders", "orders"]), Filter::new(None, &["key=k".into()], 0).unwrap());
    let (text, ending) = printed(|out| replay(&mut kept, "dead", &filter, None, out));
    assert_eq!(ending, Ok(Ending::Done));
    assert!(text.starts_with("0:0  would go back to orders 1\n") && text.ends_with("3 would be put back\n"), "{text}");
    assert!(kept.back.is_empty());
    for wanted in ["3 put back\n", "0 put back\n"] {
        assert_eq!(
            printed(|out| replay(&mut kept, "dead", &filter, Some(10), out)),
            (wanted.to_owned(), Ok(Ending::Done))
        );
    }
    let (text, _) = printed(|out| list(&mut kept, &filter, out));
    assert!(text.ends_with("3 dead letters, 3 of them put back\n") && text.contains("  put back  "), "{text}");
}

#[test]
fn what_can_not_go_back_stays_and_makes_the_end_a_failure() {
    let mut kept = kept(&["orders", "gone", "orders"]);
    let (text, ending) = printed(|out| replay(&mut kept, "dead", &Filter::default(), Some(10), out));
    assert_eq!(text, "0:1  can't go back: topic `gone` does not exist\n2 put back\n");
    assert!(ending.unwrap_err().to_string().starts_with("1 records can't be put back (topic dead)"));
    assert_eq!(kept.back.len(), 2);
}

#[test]
fn one_is_shown_or_not_there() {
    let mut kept = kept(&["orders"]);
    let mut show = |at| printed(|out| show_one(&mut kept, "dead", at, (None, None), out));
    assert!(show((0, 0)).0.contains("key       k0\n"));
    assert!(show((0, 9)).1.unwrap_err().to_string().starts_with("there is no record 0:9 (topic dead)"));
    assert_eq!(parse_place("3:17").unwrap(), (3, 17));
    for text in ["17", "a:b", "-1:2", "1:2:3"] {
        assert!(parse_place(text).unwrap_err().to_string().contains("is no place of a record"), "{text}");
    }
}
