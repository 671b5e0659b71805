//! Times as people write them, in UTC.

use crate::{
    fault::{Fault, Result},
    record::Timestamp,
};

const DAY_MS: i64 = 86_400_000;

/// `2026-11-21T16:30:00.000Z`
pub(super) fn text(at: Timestamp) -> String {
    if at < 0 {
        return "no time".into();
    }
    let (day, in_day) = (at.div_euclid(DAY_MS), at.rem_euclid(DAY_MS));
    let (year, month, day) = civil(day);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, ms) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A moment: `2026-11-21`, `2026-11-21T16:30:00Z`, milliseconds since 1970, or how long before `now`: `90s`, `15m`, `2h`,
/// `7d`.
///
/// # Errors
/// When it is none of these.
pub(super) fn parse(given: &str, now: Timestamp) -> Result<Timestamp> {
    let bad = || {
        Fault::stop(format!("`{given}` is no time"))
            .at("--since")
            .hint("write 2026-11-21, 2026-11-21T16:30:00Z, milliseconds since 1970, or how long ago: 90s, 15m, 2h, 7d")
    };
    let whole = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten();
    if let Some(ms) = whole(given) {
        return Ok(ms);
    }
    for (unit, ms) in [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)] {
        if let Some(count) = given.strip_suffix(unit).and_then(whole) {
            return Ok(now.saturating_sub(count.saturating_mul(ms)).max(0));
        }
    }
    let (date, clock) = given.split_once(['T', ' ']).unwrap_or((given, "00:00:00"));
    let parts: Option<Vec<i64>> = date.split('-').map(whole).collect();
    let Some(&[year, month, day]) = parts.as_deref() else { return Err(bad()) };
    let (clock, ms) = match clock.strip_suffix('Z').unwrap_or(clock).split_once('.') {
        Some((clock, part)) if part.len() <= 3 => (clock, whole(&format!("{part:0<3}")).ok_or_else(bad)?),
        Some(_) => return Err(bad()),
        None => (clock.strip_suffix('Z').unwrap_or(clock), 0),
    };
    let parts: Option<Vec<i64>> = clock.split(':').map(whole).collect();
    let (hour, minute, second) = match parts.as_deref() {
        Some(&[hour, minute]) => (hour, minute, 0),
        Some(&[hour, minute, second]) => (hour, minute, second),
        _ => return Err(bad()),
    };
    let at = days(year, month, day);
    if !(1970..=9999).contains(&year) || civil(at) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return Err(bad());
    }
    Ok(at * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

/// Year, month and day of a number of days since 1970 (Hinnant's algorithm: eras of 400 years that begin in March).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The number of days since 1970; of a date that is none, some number.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (given, at) in [
            ("1970-01-01", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2026-11-21T16:30:00.25Z", 1_795_278_600_250),
            ("2026-11-21 16:30", 1_795_278_600_000),
            ("1795278600000", 1_795_278_600_000),
        ] {
            assert_eq!(parse(given, 0).unwrap(), at, "{given}");
        }
        assert_eq!(text(1_795_278_600_250), "2026-11-21T16:30:00.250Z");
        assert_eq!(text(-1), "no time");
        for at in (0..4_000_000_000_000).step_by(7_654_321_987) {
            assert_eq!(parse(&text(at), 0).unwrap(), at);
        }
    }

    #[test]
    fn times_may_be_so_long_ago() {
        for (given, at) in [("90s", 910_000), ("15m", 100_000), ("2h", 0)] {
            assert_eq!(parse(given, 1_000_000).unwrap(), at, "{given}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for given in
            ["", "soon", "2026-02-29", "2026-13-01", "2026-11-21T24:00:00Z", "2h30m", "-5", "2026-11-21T16:30:00+01:00"]
        {
            assert!(parse(given, 0).unwrap_err().to_string().contains("is no time"), "{given}");
        }
    }
}
