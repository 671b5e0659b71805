//! The topologies that run by name.

use crate::{
    config::Config,
    embedded::Format,
    fault::{Fault, Result},
    topology::Topology,
};

/// A topic as a topology of the catalogue uses it.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Its name, unless `input.topic` or `output.topic` says another.
    pub name: &'static str,
    /// Format of its keys in files of lines.
    pub key: Format,
    /// Format of its values in files of lines.
    pub value: Format,
}

impl Topic {
    /// A topic with these formats.
    pub const fn new(name: &'static str, key: Format, value: Format) -> Self {
        Self { name, key, value }
    }
}

/// A topology that runs by name.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Topics it reads.
    pub inputs: &'static [Topic],
    /// Topics it writes, those for failed and late records that its settings name included.
    pub outputs: &'static [Topic],
    /// Settings that it comes with, name and value: defaults that any flag, variable or file overrules.
    pub settings: &'static [(&'static str, &'static str)],
    /// Makes it.
    pub build: fn(&Params) -> Result<Topology>,
}

impl Entry {
    /// Takes over the settings that nobody has set.
    ///
    /// # Errors
    /// When one is no setting, or its value is none.
    pub fn settle(&self, config: &mut Config) -> Result<()> {
        let pairs: Vec<_> = self.settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Config::load(&pairs, [], None).map_err(|fault| fault.at(format!("settings of topology {}", self.name)))?;
        for (name, value) in self.settings {
            config.default_to(name, value);
        }
        config.default_to("application.id", self.name);
        Ok(())
    }
}

/// What a topology is made with: the names of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Params {
    /// The entry's own topics, or those that `input.topic` and `output.topic` name (comma separated, in the entry's order).
    ///
    /// # Errors
    /// When a setting names another number of topics than the topology has.
    pub fn new(entry: &Entry, config: &Config) -> Result<Self> {
        let names = |setting: &str, topics: &[Topic]| match config.text(setting) {
            None => Ok(topics.iter().map(|t| t.name.to_owned()).collect()),
            Some(text) => {
                let names: Vec<String> = text.split(',').map(|n| n.trim().to_owned()).collect();
                if names.len() == topics.len() {
                    Ok(names)
                } else {
                    let own: Vec<_> = topics.iter().map(|t| t.name).collect();
                    Err(Fault::stop(format!("setting `{setting}` names {} topics", names.len()))
                        .at(format!("topology {}", entry.name))
                        .hint(format!("it has {}, by default {}", own.len(), own.join(","))))
                }
            }
        };
        Ok(Self { inputs: names("input.topic", entry.inputs)?, outputs: names("output.topic", entry.outputs)? })
    }

    /// The entry's own topics.
    pub fn defaults(entry: &Entry) -> Self {
        let names = |topics: &[Topic]| topics.iter().map(|t| t.name.to_owned()).collect();
        Self { inputs: names(entry.inputs), outputs: names(entry.outputs) }
    }

    /// The input topic at this place of [`Entry::inputs`].
    ///
    /// # Panics
    /// When the entry has no such input.
    pub fn input(&self, index: usize) -> &str {
        &self.inputs[index]
    }

    /// The output topic at this place of [`Entry::outputs`].
    ///
    /// # Panics
    /// When the entry has no such output.
    pub fn output(&self, index: usize) -> &str {
        &self.outputs[index]
    }

    /// Input topics with their formats.
    pub(super) fn inputs<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (&'a str, &'a Topic)> {
        self.inputs.iter().map(String::as_str).zip(entry.inputs)
    }

    /// Output topics with their formats.
    pub(super) fn outputs<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (&'a str, &'a Topic)> {
        self.outputs.iter().map(String::as_str).zip(entry.outputs)
    }
}

/// All topologies of a program.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Vec<Entry>);

impl Catalogue {
    /// These topologies, in this order.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// When there is none; the error names the nearest.
    pub fn entry(&self, name: &str) -> Result<&Entry> {
        if let Some(entry) = self.0.iter().find(|e| e.name == name) {
            return Ok(entry);
        }
        let near = self
            .0
            .iter()
            .map(|e| (strsim::jaro_winkler(name, e.name), e.name))
            .filter(|(score, _)| *score > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let fault = Fault::stop(format!("there is no topology `{name}`"));
        Err(match near {
            Some((_, near)) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("`millstream list` names them all"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry {
        name: "word-count",
        about: "counts words",
        inputs: &[Topic::new("lines", Format::String, Format::String)],
        outputs: &[Topic::new("counts", Format::String, Format::Long)],
        settings: &[],
        build: |_| Err(Fault::stop("not needed")),
    };

    #[test]
    fn a_wrong_name_gets_the_nearest() {
        let fault = Catalogue::new([ENTRY]).entry("wordcount").unwrap_err();
        assert_eq!(fault.to_string(), "there is no topology `wordcount`: did you mean `word-count`?");
    }

    #[test]
    fn settings_rename_topics() {
        let load = |value: &str| Config::load(&[("input.topic".into(), value.into())], [], None).unwrap();
        let params = Params::new(&ENTRY, &load("other")).unwrap();
        assert_eq!((params.input(0), params.output(0)), ("other", "counts"));
        let fault = Params::new(&ENTRY, &load("a,b")).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "setting `input.topic` names 2 topics (topology word-count): it has 1, by default lines"
        );
    }
}
