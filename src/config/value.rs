//! Types of settings: what a text must look like.

use crate::fault::{Fault, Result};

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number within bounds.
    Int {
        /// Smallest value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A number of bytes, plain or with `KiB`, `MiB`, `GiB`.
    Bytes,
    /// `true` or `false`.
    Flag,
    /// One of a few words.
    OneOf(&'static [&'static str]),
}

impl Kind {
    /// A whole number from `min` on.
    pub const fn at_least(min: i64) -> Self {
        Self::Int { min, max: i64::MAX }
    }

    /// Checks a value and returns it in plain form (`64MiB` becomes `67108864`).
    ///
    /// # Errors
    /// When the text is no value of this type; the message says what would be one.
    pub fn check(self, name: &str, text: &str) -> Result<String> {
        let bad = |what: String| Fault::stop(format!("setting `{name}`: `{text}` is {what}"));
        match self {
            Self::Text => Ok(text.to_owned()),
            Self::Int { min, max } => {
                let number: i64 = text.trim().parse().map_err(|_| bad("not a whole number".into()))?;
                if number < min {
                    return Err(bad(format!("below the smallest value, {min}")));
                }
                if number > max {
                    return Err(bad(format!("above the greatest value, {max}")));
                }
                Ok(number.to_string())
            }
            Self::Bytes => match bytes(text) {
                Some(number) => Ok(number.to_string()),
                None => Err(bad("not a number of bytes such as 10485760 or 10MiB".into())),
            },
            Self::Flag => match text.trim().to_ascii_lowercase().as_str() {
                word @ ("true" | "false") => Ok(word.to_owned()),
                _ => Err(bad("neither `true` nor `false`".into())),
            },
            Self::OneOf(words) => match words.iter().find(|w| w.eq_ignore_ascii_case(text.trim())) {
                Some(word) => Ok((*word).to_owned()),
                None => Err(bad(format!("not one of: {}", words.join(", ")))),
            },
        }
    }

    /// What a value may be, in words.
    pub fn values(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Int { min, max: i64::MAX } => format!("a whole number from {min} on"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes => "bytes, such as 10485760 or 10MiB".into(),
            Self::Flag => "true or false".into(),
            Self::OneOf(words) => words.join(", "),
        }
    }
}

fn bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "k" | "K" => 1 << 10,
        "MiB" | "m" | "M" => 1 << 20,
        "GiB" | "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}
