//! How a configuration is read: one macro makes the typed section, its reader, its checks and its documentation from
//! the same lines, so that none of them can fall behind the others.
//!
//! Every key is mandatory. A key that no section knows, a value of the wrong type and a value out of its bounds are
//! all reported in one go, with file, line, key, value and bound.

use std::fmt;
use std::path::PathBuf;

use peregrine_types::{Price, parse_decimal};
use toml::Value;

/// Something wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// File that holds the key, or the file that lacks it.
    pub file: PathBuf,
    /// Line of the key, from 1; `None` for a key that is missing.
    pub line: Option<usize>,
    /// `section.key`.
    pub key: String,
    /// What is wrong, with value and bound, and what to do.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{} ({}:{line}): {}", self.key, self.file.display(), self.what),
            None => write!(f, "{} ({}): {}", self.key, self.file.display(), self.what),
        }
    }
}

/// One key as written in a file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name of the section.
    pub section: String,
    /// Name of the key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// File that holds it.
    pub file: PathBuf,
    /// Line, from 1; `None` for an entry of the command line.
    pub line: Option<usize>,
}

/// One key of the schema, for `config print --schema` and the generated documentation.
#[derive(Clone, Copy, Debug)]
pub struct KeyDoc {
    /// Name of the key; its unit is part of the name.
    pub key: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Type as written in TOML.
    pub kind: &'static str,
    /// Legal values.
    pub bound: &'static str,
}

/// A type that a key can have.
pub trait ConfigValue: Sized {
    /// Name of the type in messages.
    const KIND: &'static str;
    /// Reads the value, or says why it is none.
    fn read(value: &Value) -> Result<Self, String>;
    /// The value as TOML.
    fn print(&self) -> String;
}

impl ConfigValue for i64 {
    const KIND: &'static str = "integer";
    fn read(value: &Value) -> Result<Self, String> {
        value.as_integer().ok_or_else(|| wrong_type(value, Self::KIND))
    }
    fn print(&self) -> String {
        self.to_string()
    }
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl ConfigValue for $type {
            const KIND: &'static str = "integer";
            fn read(value: &Value) -> Result<Self, String> {
                let wide = i64::read(value)?;
                Self::try_from(wide).map_err(|_| format!("{wide} is outside 0..={}", Self::MAX))
            }
            fn print(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
unsigned!(u64, u32, u16, usize);

impl ConfigValue for f64 {
    const KIND: &'static str = "number";
    fn read(value: &Value) -> Result<Self, String> {
        let integer = value.as_integer().and_then(|integer| i32::try_from(integer).ok()).map(Self::from);
        match value.as_float().or(integer) {
            Some(number) if number.is_finite() => Ok(number),
            Some(number) => Err(format!("{number} is no finite number")),
            None => Err(wrong_type(value, Self::KIND)),
        }
    }
    fn print(&self) -> String {
        format!("{self:?}")
    }
}

impl ConfigValue for bool {
    const KIND: &'static str = "true or false";
    fn read(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| wrong_type(value, Self::KIND))
    }
    fn print(&self) -> String {
        self.to_string()
    }
}

impl ConfigValue for String {
    const KIND: &'static str = "string";
    fn read(value: &Value) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(value, Self::KIND))
    }
    fn print(&self) -> String {
        Value::String(self.clone()).to_string()
    }
}

impl ConfigValue for Vec<String> {
    const KIND: &'static str = "list of strings";
    fn read(value: &Value) -> Result<Self, String> {
        let array = value.as_array().ok_or_else(|| wrong_type(value, Self::KIND))?;
        array.iter().map(String::read).collect()
    }
    fn print(&self) -> String {
        let items: Vec<String> = self.iter().map(ConfigValue::print).collect();
        format!("[{}]", items.join(", "))
    }
}

impl ConfigValue for Price {
    const KIND: &'static str = "decimal in a string";
    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| wrong_type(value, Self::KIND))?;
        parse_decimal(text).map(Self).map_err(|error| format!("\"{text}\": {error}"))
    }
    fn print(&self) -> String {
        format!("\"{self}\"")
    }
}

pub(super) fn wrong_type(value: &Value, wanted: &str) -> String {
    format!("is of type {}, but what is needed is: {wanted}", value.type_str())
}

/// Type and bound in one; a choice says both with its words.
pub(super) fn kind_and_bound(kind: &str, bound: &str) -> String {
    if kind.starts_with("one of") || kind == bound { kind.to_owned() } else { format!("{kind}, {bound}") }
}

/// A choice out of a few words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $crate::config::schema::ConfigValue for $name {
            const KIND: &'static str = concat!("one of" $(, " \"", $word, "\"")*);
            fn read(value: &toml::Value) -> Result<Self, String> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)*
                    Some(other) => Err(format!("\"{other}\" is not {}", Self::KIND)),
                    None => Err($crate::config::schema::wrong_type(value, Self::KIND)),
                }
            }
            fn print(&self) -> String {
                match self { $(Self::$variant => concat!("\"", $word, "\"").to_owned(),)* }
            }
        }
    };
}
pub(crate) use choice;

/// A section: its struct, its reader, its printer and its documentation.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident = $section:literal {
        $($(#[doc = $kdoc:literal])* $key:ident: $type:ty, $bound:literal, $check:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $kdoc])* #[doc = concat!("\n\nLegal: ", $bound, ".")] pub $key: $type,)* }

        impl $name {
            /// Name of the section in the file.
            pub const SECTION: &'static str = $section;
            /// Every key, in the order of the struct.
            pub const KEYS: &'static [$crate::config::schema::KeyDoc] = &[$(
                $crate::config::schema::KeyDoc {
                    key: stringify!($key),
                    doc: concat!($($kdoc,)* ""),
                    kind: <$type as $crate::config::schema::ConfigValue>::KIND,
                    bound: $bound,
                },
            )*];

            /// Takes the section's keys out of `reader`; `None` when one of them is missing or wrong.
            pub fn read(reader: &mut $crate::config::schema::Reader) -> Option<Self> {
                $(let $key = reader.take::<$type>($section, stringify!($key), $bound, $check);)*
                Some(Self { $($key: $key?,)* })
            }

            /// The section as TOML, with where each value came from.
            pub fn print(&self, origin: &dyn Fn(&str, &str) -> String) -> String {
                use $crate::config::schema::ConfigValue as _;
                let mut text = concat!("[", $section, "]\n").to_owned();
                $(
                    let from = origin($section, stringify!($key));
                    text.push_str(&format!("{} = {}{from}\n", stringify!($key), self.$key.print()));
                )*
                text
            }
        }
    };
}
pub(crate) use section;

/// The entries of a profile while the sections take theirs out, and what was found wrong so far.
#[derive(Debug)]
pub struct Reader {
    /// The profile's own file, named where a key is missing.
    pub file: PathBuf,
    /// Entries that no section has taken yet.
    pub entries: Vec<Entry>,
    /// What was found wrong.
    pub violations: Vec<Violation>,
}

impl Reader {
    /// Takes one key, checks its type and its bound, and notes a violation where there is one.
    pub fn take<T: ConfigValue>(
        &mut self,
        section: &str,
        key: &str,
        bound: &str,
        check: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let name = format!("{section}.{key}");
        let Some(index) = self.entries.iter().position(|entry| entry.section == section && entry.key == key) else {
            let what = format!("is missing; write it as {}: there are no defaults", kind_and_bound(T::KIND, bound));
            self.violations.push(Violation { file: self.file.clone(), line: None, key: name, what });
            return None;
        };
        let entry = self.entries.swap_remove(index);
        let checked = T::read(&entry.value).and_then(|value| {
            if check(&value) { Ok(value) } else { Err(format!("{} is outside its bound: {bound}", value.print())) }
        });
        match checked {
            Ok(value) => Some(value),
            Err(what) => {
                self.violations.push(Violation { file: entry.file, line: entry.line, key: name, what });
                None
            }
        }
    }

    /// Whether any key of a section is written.
    #[must_use]
    pub fn has_section(&self, section: &str) -> bool {
        self.entries.iter().any(|entry| entry.section == section)
    }

    /// Notes every entry that nobody took as unknown.
    pub fn refuse_rest(&mut self) {
        self.entries.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        for entry in self.entries.drain(..) {
            let key = format!("{}.{}", entry.section, entry.key);
            let what = "is not a key that the engine knows; see `peregrine config print --schema`".to_owned();
            self.violations.push(Violation { file: entry.file, line: entry.line, key, what });
        }
    }
}
