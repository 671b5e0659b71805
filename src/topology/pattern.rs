//! Topics by a regular expression (D-1).

use crate::fault::{Fault, Result};
use regex::bytes::{Regex, RegexBuilder};
use std::{fmt, sync::Arc};

/// A regular expression that a whole topic name must match. Names are ASCII, and so are its classes, as in Java.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// # Errors
    /// When the text is no regular expression.
    pub fn new(text: &str) -> Result<Self> {
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).unicode(false).build();
        let regex = whole.map_err(|error| {
            Fault::stop(format!("`{text}` is no pattern of topics: {error}"))
                .hint("look-around and back references of Java's patterns are not here")
        })?;
        Ok(Self { text: text.into(), regex })
    }

    /// As it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// True for a topic name that it matches from end to end.
    pub fn matches(&self, topic: &str) -> bool {
        self.regex.is_match(topic.as_bytes())
    }
}

/// True for topics that no pattern takes in: those of the brokers, and those that the application makes for itself.
pub(crate) fn is_internal(topic: &str, application_id: &str) -> bool {
    let own = topic.strip_prefix(application_id).is_some_and(|rest| rest.starts_with('-'));
    let made = ["-changelog", "-repartition", "-topic"].iter().any(|end| topic.ends_with(end));
    topic.starts_with("__") || (own && made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_a_pattern_is_that_of_a_whole_name() {
        let pattern = Pattern::new("in-\\d+|other").unwrap();
        for (topic, matches) in
            [("in-12", true), ("in-", false), ("my-in-12", false), ("other", true), ("others", false)]
        {
            assert_eq!(pattern.matches(topic), matches, "{topic}");
        }
        assert!(
            Pattern::new("in-(").is_err_and(|fault| fault.to_string().starts_with("`in-(` is no pattern of topics"))
        );
    }

    #[test]
    fn d1_what_is_made_for_brokers_and_application_is_not_taken_in() {
        assert!(is_internal("__consumer_offsets", "app") && is_internal("app-counts-changelog", "app"));
        assert!(!is_internal("app-input", "app") && !is_internal("other-counts-changelog", "app"));
    }
}
