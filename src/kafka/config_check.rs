//! Whether an internal topic that is there already has the settings that it needs (Q-22..Q-26).

use crate::{
    fault::{Fault, Result},
    topology::InternalTopic,
};
use std::collections::BTreeMap;

/// Compares what `found` says of a topic with what it would be created with. Returns warnings.
///
/// # Errors
/// When its cleanup policy would delete records that are needed.
pub(super) fn check(
    topic: &InternalTopic,
    over: &BTreeMap<String, String>,
    found: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let wanted = |name: &str| over.get(name).or_else(|| topic.config.get(name)).map(String::as_str);
    let needed = |policy: &str| wanted("cleanup.policy").is_some_and(|p| has(p, policy));
    let (Some(policy), retention) = (found("cleanup.policy"), found("retention.ms")) else { return Ok(Vec::new()) };
    let forever = retention.as_deref() == Some("-1");
    let deletes = has(&policy, "delete") && !forever;
    let wrong = if has(&policy, "compact") && !needed("compact") {
        Some("compaction would remove records that were not read yet")
    } else if deletes && !needed("delete") {
        Some("the broker deletes rows that state needs when they are old")
    } else {
        None
    };
    if let Some(why) = wrong {
        return Err(Fault::stop(format!("internal topic `{}` has cleanup.policy={policy}: {why}", topic.name)).hint(
            format!("set cleanup.policy={} on it, or reset the application", wanted("cleanup.policy").unwrap_or("")),
        ));
    }
    let mut warnings = Vec::new();
    if needed("compact") && !has(&policy, "compact") {
        warnings.push(format!("internal topic `{}` has cleanup.policy={policy}: it grows without end", topic.name));
    }
    let ms = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
    if let (true, Some(kept), Some(needed)) = (deletes, ms(retention.as_deref()), ms(wanted("retention.ms")))
        && (needed < 0 || kept < needed)
    {
        warnings.push(format!(
            "internal topic `{}` has retention.ms={kept}, less than the {needed} that it needs: the broker may delete \
             records too early; set retention.ms={needed} on it",
            topic.name
        ));
    }
    Ok(warnings)
}

/// What to say of a source topic that restores a table, if its settings let rows go.
pub(super) fn check_source(topic: &str, found: impl Fn(&str) -> Option<String>) -> Option<String> {
    /// What the disk of a worker counts on: a deletion is readable for so long.
    const DELETE_RETENTION_MS: i64 = 86_400_000;
    let policy = found("cleanup.policy")?;
    let forever = found("retention.ms").as_deref() == Some("-1");
    if has(&policy, "delete") && !forever {
        return Some(format!(
            "source topic `{topic}` restores a table and has cleanup.policy={policy}: the broker deletes rows that state \
             needs when they are old; set cleanup.policy=compact on it"
        ));
    }
    let kept: i64 = found("delete.retention.ms")?.parse().ok()?;
    (has(&policy, "compact") && kept < DELETE_RETENTION_MS).then(|| {
        format!(
            "source topic `{topic}` restores a table and has delete.retention.ms={kept}: a worker that is down for longer \
             may keep deleted rows on its disk; set delete.retention.ms={DELETE_RETENTION_MS} on it"
        )
    })
}

fn has(policy: &str, part: &str) -> bool {
    policy.split(',').any(|p| p.trim() == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(config: &[(&str, &str)], repartition: bool) -> InternalTopic {
        let config = config.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        InternalTopic { name: "app-t".into(), partitions: 1, config, repartition }
    }

    fn checked(topic: &InternalTopic, found: &[(&str, &str)]) -> Result<Vec<String>> {
        let found = |name: &str| found.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        check(topic, &BTreeMap::new(), found)
    }

    #[test]
    fn q22_a_changelog_that_is_deleted_by_age_loses_rows() {
        let changelog = topic(&[("cleanup.policy", "compact")], false);
        assert_eq!(checked(&changelog, &[("cleanup.policy", "compact"), ("retention.ms", "5")]), Ok(vec![]));
        let fault = checked(&changelog, &[("cleanup.policy", "delete"), ("retention.ms", "5")]).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "internal topic `app-t` has cleanup.policy=delete: the broker deletes rows that state needs when they are \
             old: set cleanup.policy=compact on it, or reset the application"
        );
        let warnings = checked(&changelog, &[("cleanup.policy", "delete"), ("retention.ms", "-1")]).unwrap();
        assert_eq!(warnings, ["internal topic `app-t` has cleanup.policy=delete: it grows without end"]);
    }

    #[test]
    fn q23_a_window_changelog_keeps_its_retention() {
        let changelog = topic(&[("cleanup.policy", "compact,delete"), ("retention.ms", "1000")], false);
        let found = |ms| [("cleanup.policy", "delete,compact"), ("retention.ms", ms)];
        assert_eq!(checked(&changelog, &found("1000")), Ok(vec![]));
        assert_eq!(checked(&changelog, &found("-1")), Ok(vec![]));
        let warnings = checked(&changelog, &found("999")).unwrap();
        assert!(warnings[0].contains("retention.ms=999, less than the 1000"), "{warnings:?}");
    }

    #[test]
    fn q26_a_repartition_topic_is_neither_compacted_nor_deleted_by_age() {
        let repartition = topic(&[("cleanup.policy", "delete"), ("retention.ms", "-1")], true);
        let found = |policy, ms| [("cleanup.policy", policy), ("retention.ms", ms)];
        assert_eq!(checked(&repartition, &found("delete", "-1")), Ok(vec![]));
        assert!(checked(&repartition, &found("compact", "-1")).is_err());
        assert_eq!(checked(&repartition, &found("delete", "604800000")).unwrap().len(), 1);
    }

    #[test]
    fn r91_a_source_topic_that_restores_a_table_is_to_be_compacted() {
        let said = |found: &[(&str, &str)]| {
            check_source("rows", |name| found.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        let day = ("delete.retention.ms", "86400000");
        assert_eq!(said(&[("cleanup.policy", "compact"), ("retention.ms", "604800000"), day]), None);
        assert_eq!(said(&[("cleanup.policy", "delete"), ("retention.ms", "-1"), day]), None);
        assert_eq!(said(&[]), None, "without the right to look");
        let deletes = said(&[("cleanup.policy", "compact,delete"), ("retention.ms", "604800000"), day]);
        assert!(deletes.is_some_and(|text| text.contains("set cleanup.policy=compact")));
        let short = said(&[("cleanup.policy", "compact"), ("delete.retention.ms", "1000")]);
        assert!(short.is_some_and(|text| text.contains("has delete.retention.ms=1000")));
    }

    #[test]
    fn nothing_is_said_without_the_right_to_look() {
        assert_eq!(checked(&topic(&[("cleanup.policy", "compact")], false), &[]), Ok(vec![]));
    }
}
