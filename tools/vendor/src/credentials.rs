//! Keys: from environment variables or a file that the configuration names. They are never part of a text that is shown.

use std::fmt;
use std::path::{Path, PathBuf};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the wire alone.
    #[must_use]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(kept)")
    }
}

/// What a vendor asks for; empty where it asks for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The key.
    pub key: Secret,
    /// The secret that goes with it, where there is one.
    pub secret: Secret,
}

/// Where credentials are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialPlan {
    /// Environment variable of the key; without a file.
    pub key_variable: String,
    /// Environment variable of the secret; without a file, and where the vendor has one.
    pub secret_variable: String,
    /// A file with the lines `key = …` and `secret = …`.
    pub file: Option<PathBuf>,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A variable is not set.
    #[error("the environment variable {0} is not set, or empty: set it, or name credentials.file")]
    Variable(String),
    /// What stands for the name of a variable is none; it is not repeated, because it could be the key itself.
    #[error(
        "credentials.key_variable or secret_variable is no name of an environment variable: capitals, digits and _"
    )]
    Name,
    /// The file cannot be read.
    #[error("cannot read the credentials ({}): {source}; name a file that can be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not have a line.
    #[error("the credentials ({}) have no line `{name} = …`: add it", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// What is missing.
        name: &'static str,
    },
}

impl CredentialPlan {
    /// Fetches them: a key, and a secret where `has_secret`.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn fetch(&self, has_secret: bool) -> Result<Credentials, CredentialError> {
        let Some(path) = &self.file else {
            let key = variable(&self.key_variable)?;
            let secret = if has_secret { variable(&self.secret_variable)? } else { Secret::default() };
            return Ok(Credentials { key, secret });
        };
        let text =
            std::fs::read_to_string(path).map_err(|source| CredentialError::Read { path: path.clone(), source })?;
        let key = line(&text, "key", path)?;
        let secret = if has_secret { line(&text, "secret", path)? } else { Secret::default() };
        Ok(Credentials { key, secret })
    }
}

fn variable(name: &str) -> Result<Secret, CredentialError> {
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(CredentialError::Name);
    }
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(Secret(text)),
        Ok(_) | Err(_) => Err(CredentialError::Variable(name.to_owned())),
    }
}

fn line(text: &str, name: &'static str, path: &Path) -> Result<Secret, CredentialError> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    match values.next() {
        Some(value) if !value.is_empty() => Ok(Secret::new(value)),
        Some(_) | None => Err(CredentialError::Line { path: path.to_path_buf(), name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_both_lines_and_nothing_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# of the desk\nkey = K-1\nsecret=S=2\n").unwrap();
        let plan = CredentialPlan { file: Some(path.clone()), ..CredentialPlan::default() };
        let kept = plan.fetch(true).unwrap();
        assert_eq!((kept.key.text(), kept.secret.text()), ("K-1", "S=2"));
        let shown = format!("{kept:?}");
        assert!(!shown.contains("K-1") && !shown.contains("S=2"), "{shown}");
        std::fs::write(&path, "key = K-1\n").unwrap();
        assert_eq!(plan.fetch(false).unwrap().secret, Secret::default());
        assert!(matches!(plan.fetch(true), Err(CredentialError::Line { name: "secret", .. })));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let plan = CredentialPlan { key_variable: "PEREGRINE_NO_SUCH_KEY".to_owned(), ..CredentialPlan::default() };
        let error = plan.fetch(false).unwrap_err().to_string();
        assert!(error.contains("PEREGRINE_NO_SUCH_KEY"), "{error}");
    }
}
