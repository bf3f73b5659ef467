//! Reads the text of a configuration file, and goes on after each mistake to find them all.
//!
//! A value that cannot be read is noted, taken out of the document and so replaced by its default,
//! until the rest can be read. What is built from such a file is never run; it only serves to find
//! the remaining mistakes.

use serde::Deserialize;
use toml::de::Error;

use crate::document::Document;
use crate::file::ConfigFile;
use crate::key::KeyPath;
use crate::known_keys;
use crate::mistake::Mistakes;

/// More broken values than anybody wants to read about at once.
const MOST_REPAIRS: usize = 100;

/// A configuration file as far as it could be read.
pub struct Loaded {
    /// What was written, with defaults where it could not be read.
    pub file: ConfigFile,
    /// What could not be read.
    pub mistakes: Mistakes,
}

/// Reads `text`.
pub fn load(text: &str) -> Loaded {
    let mut mistakes = Mistakes::default();
    let file = match Document::parse(text) {
        Ok(document) => {
            let file = read(document.clone(), &mut mistakes);
            mistakes.locate(&document);
            file
        }
        Err(errors) => {
            note_syntax(&errors, text, &mut mistakes);
            ConfigFile::default()
        }
    };
    Loaded { file, mistakes }
}

fn note_syntax(errors: &[Error], text: &str, mistakes: &mut Mistakes) {
    for error in errors {
        let line = error.span().map(|span| Document::line_at(text, span.start));
        mistakes.note_unkeyed(line, format!("not TOML: {}", error.message().trim()));
    }
}

fn read(mut document: Document<'_>, mistakes: &mut Mistakes) -> ConfigFile {
    for _ in 0..MOST_REPAIRS {
        let mut unknown = Vec::new();
        let result = read_once(&document, &mut unknown);
        for key in unknown {
            let reason = known_keys::explain_unknown(&key);
            mistakes.note(key, reason);
        }
        match result {
            Ok(file) => return file,
            Err(error) if repair(&mut document, &error, mistakes) => {}
            Err(_) => break,
        }
    }
    ConfigFile::default()
}

fn read_once(document: &Document<'_>, unknown: &mut Vec<KeyPath>) -> Result<ConfigFile, Error> {
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(key_path(&path));
    let deserializer = serde_ignored::Deserializer::new(document.deserializer(), &mut note);
    ConfigFile::deserialize(deserializer)
}

fn key_path(path: &serde_ignored::Path<'_>) -> KeyPath {
    use serde_ignored::Path;
    match path {
        Path::Root => KeyPath::default(),
        Path::Seq { parent, index } => key_path(parent).index(*index),
        Path::Map { parent, key } => key_path(parent).key(key),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => key_path(parent),
    }
}

/// Notes the mistake and takes its value out; `false` when there is nothing to take out.
fn repair(document: &mut Document<'_>, error: &Error, mistakes: &mut Mistakes) -> bool {
    let Some(span) = error.span() else {
        mistakes.note_unkeyed(None, error.message().to_owned());
        return false;
    };
    let key = document.key_at(&span);
    mistakes.note(key.clone(), error.message().trim());
    document.remove(&key)
}

#[cfg(test)]
mod tests;
