//! Brings flags, environment, file and defaults together.

use super::table::{SETTINGS, Setting, nearest, passes_through, secret, setting};
use crate::fault::{Fault, Result};
use std::{collections::BTreeMap, fmt};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table, or what the command says where the table says nothing.
    Default,
    /// A TOML file, by its path.
    File(String),
    /// An environment variable, by its name.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// A setting in force, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its name.
    pub name: String,
    /// Its value; a secret is masked.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

/// All settings in force, checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    values: BTreeMap<String, (String, Origin)>,
}

/// Prefix of environment variables.
const ENVIRONMENT: &str = "MILLSTREAM_";

impl Config {
    /// Reads all sources. `file` is a TOML file's path and contents; of `environment` only variables that begin with
    /// `MILLSTREAM_` count, without `MILLSTREAM_CONFIG`, which names the file.
    ///
    /// # Errors
    /// On an unknown name (with the nearest known one) and on a value of the wrong type, with its origin.
    pub fn load(
        flags: &[(String, String)],
        environment: impl IntoIterator<Item = (String, String)>,
        file: Option<(&str, &str)>,
    ) -> Result<Self> {
        let mut config = Self::default();
        for s in SETTINGS.iter().filter(|s| !s.default.is_empty()) {
            config.values.insert(s.name.to_owned(), (s.default.to_owned(), Origin::Default));
        }
        if let Some((path, text)) = file {
            config.read_file(path, text)?;
        }
        for (variable, value) in environment {
            let Some(rest) = variable.strip_prefix(ENVIRONMENT) else { continue };
            if rest != "CONFIG" && !service_link(rest, &value) {
                let name = rest.to_ascii_lowercase().replace('_', ".");
                config.put(&name, &value, Origin::Environment(variable))?;
            }
        }
        for (name, value) in flags {
            config.put(name, value, Origin::Flag)?;
        }
        if config.text("processing.guarantee") == Some("at_least_once") {
            config.default_to("commit.interval.ms", "30000");
        }
        let limit = config.int("memory.limit");
        let origin = || config.origin("memory.limit").map_or_else(String::new, ToString::to_string);
        for (name, bytes) in super::memory::shares(limit).map_err(|fault| fault.at(origin()))? {
            config.default_to(name, &bytes.to_string());
        }
        Ok(config)
    }

    fn read_file(&mut self, path: &str, text: &str) -> Result<()> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let line = 1 + text[..e.span().map_or(0, |s| s.start)].matches('\n').count();
            let message = e.message().lines().collect::<Vec<_>>().join("; ");
            Fault::stop(format!("the file of settings is not TOML: {message}"))
                .at(format!("{path}, line {line}"))
                .hint("write lines such as `\"commit.interval.ms\" = 100`")
        })?;
        let mut flat = Vec::new();
        flatten("", &toml::Value::Table(table), &mut flat).map_err(|name| {
            Fault::stop(format!("setting `{name}` has no plain value")).at(path).hint("write text, a number or a list")
        })?;
        for (name, value) in flat {
            self.put(&name, &value, Origin::File(path.to_owned()))?;
        }
        Ok(())
    }

    fn put(&mut self, name: &str, value: &str, origin: Origin) -> Result<()> {
        let value = match setting(name) {
            Some(s) => s.kind.check(name, value).map_err(|f| f.at(origin.to_string()).hint(default_of(s)))?,
            None if passes_through(name) => {
                super::clients::allowed(name).map_err(|f| f.at(origin.to_string()))?;
                value.to_owned()
            }
            None => {
                let fault = Fault::stop(format!("unknown setting `{name}`")).at(origin.to_string());
                return Err(match nearest(name) {
                    Some(near) => fault.hint(format!("did you mean `{near}`?")),
                    None => fault.hint("`millstream config` lists all settings"),
                });
            }
        };
        self.values.insert(name.to_owned(), (value, origin));
        Ok(())
    }

    /// Sets a value that nobody has set.
    pub fn default_to(&mut self, name: &str, value: &str) {
        match self.values.get(name) {
            Some((_, origin)) if *origin != Origin::Default => {}
            _ => drop(self.values.insert(name.to_owned(), (value.to_owned(), Origin::Default))),
        }
    }

    /// A value as text; `None` when it is not set or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(v, _)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// A number or a number of bytes of the table.
    ///
    /// # Panics
    /// When the table has no number with a default under this name.
    pub fn int(&self, name: &str) -> i64 {
        self.text(name).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("`{name}` is no number of the table"))
    }

    /// A number of the table as a size; what doesn't fit is the greatest size.
    ///
    /// # Panics
    /// As [`Config::int`].
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.int(name).max(0)).unwrap_or(usize::MAX)
    }

    /// A yes or no of the table.
    pub fn is(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Where a value came from; `None` when it is not set.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.values.get(name).map(|(_, o)| o)
    }

    /// Names and values of everything that is set, secrets in the clear.
    pub(super) fn set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(n, (v, _))| (n.as_str(), v.as_str()))
    }

    /// Every setting in force, by name, secrets masked.
    pub fn effective(&self) -> Vec<Effective> {
        let mut all: BTreeMap<&str, (String, Origin)> =
            SETTINGS.iter().map(|s| (s.name, (String::new(), Origin::Default))).collect();
        for (name, (value, origin)) in &self.values {
            let value = if secret(name) && !value.is_empty() { "********".to_owned() } else { value.clone() };
            all.insert(name, (value, origin.clone()));
        }
        all.into_iter().map(|(n, (value, origin))| Effective { name: n.to_owned(), value, origin }).collect()
    }
}

fn default_of(setting: &Setting) -> String {
    if setting.default.is_empty() {
        "leave it out for the default".into()
    } else {
        format!("its default is `{}`", setting.default)
    }
}

/// Kubernetes adds such variables for a service that is called `millstream`.
fn service_link(rest: &str, value: &str) -> bool {
    rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || value.starts_with("tcp://")
        || ["PORT_", "_TCP"].iter().all(|part| rest.contains(part))
}

fn flatten(prefix: &str, value: &toml::Value, out: &mut Vec<(String, String)>) -> Result<(), String> {
    let plain = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    };
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, out)?;
            }
        }
        toml::Value::Array(values) => {
            let parts: Option<Vec<_>> = values.iter().map(plain).collect();
            out.push((prefix.to_owned(), parts.ok_or_else(|| prefix.to_owned())?.join(",")));
        }
        other => out.push((prefix.to_owned(), plain(other).ok_or_else(|| prefix.to_owned())?)),
    }
    Ok(())
}
