//! The table of settings as text: for `--help` and for the documentation.

use std::fmt::Write as _;

use super::{
    database,
    knob::{Kind, Knob, Section},
    resolve::{InForce, Origin},
    vars::KNOBS,
};

/// The settings by section, for the end of `rowcast serve --help`.
pub fn help() -> String {
    let mut text = String::from("Environment variables:\n");
    for_sections(|section, knobs| {
        let _ = writeln!(text, "\n{}:", section.title());
        for knob in knobs {
            let default = match knob.default {
                "" => String::new(),
                default => format!(" [{default}]"),
            };
            let names = std::iter::once(&knob.name).chain(knob.aliases).copied();
            let _ = write!(text, "  {}{default}", names.collect::<Vec<_>>().join(" or "));
            let mut column = WIDTH;
            for word in knob.help.replace('`', "").split(' ') {
                column += 1 + word.chars().count();
                if column >= WIDTH {
                    text.push_str("\n     ");
                    column = 6 + word.chars().count();
                }
                let _ = write!(text, " {word}");
            }
            text.push('\n');
        }
    });
    text
}

/// Fits the narrowest usual terminal, so that nothing is wrapped twice.
const WIDTH: usize = 78;

/// The settings as Markdown, one table a section; a test compares them with
/// `docs/operations.md`.
pub fn markdown() -> String {
    let mut text = String::new();
    for_sections(|section, knobs| {
        let _ = writeln!(
            text,
            "### {}\n\n| Variable | Default | Value | Meaning |\n|---|---|---|---|",
            section.title()
        );
        for knob in knobs {
            let default = match knob.default {
                "" => "–".to_owned(),
                default => format!("`{default}`"),
            };
            let mut names = format!("`{}`", knob.name);
            for alias in knob.aliases {
                let _ = write!(names, ", `{alias}`");
            }
            let form = knob.kind.expected();
            let _ = writeln!(text, "| {names} | {default} | {form} | {} |", knob.help);
        }
        text.push('\n');
    });
    text
}

/// A value for the screen; secrets are masked.
pub fn shown(entry: &InForce) -> String {
    match (&entry.value, entry.knob.kind) {
        (None, _) => "–".to_owned(),
        (Some(value), Kind::Url | Kind::WebUrl | Kind::RedisUrl) => database::masked(value),
        (Some(value), _) if entry.knob.secret => {
            format!("*** ({} characters)", value.chars().count())
        }
        (Some(value), _) => value.clone(),
    }
}

impl Origin {
    /// In a word or two.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::DatabaseUrl => "DATABASE_URL",
            Self::Flag => "flag",
            Self::Dev => "rowcast dev",
        }
    }
}

fn for_sections(mut each: impl FnMut(Section, &[Knob])) {
    for chunk in KNOBS.chunk_by(|a, b| a.section == b.section) {
        if let Some(first) = chunk.first() {
            each(first.section, chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::parse::check, *};

    #[test]
    fn the_documentation_equals_the_table() {
        let page = include_str!("../../docs/operations.md");
        let (_, rest) = page.split_once("<!-- settings -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- /settings -->").unwrap();
        assert!(
            table.trim() == markdown().trim(),
            "docs/operations.md is out of date: put the output of `rowcast config docs` between its marks"
        );
    }

    #[test]
    fn names_are_unique_and_defaults_are_valid() {
        let mut names = BTreeSet::new();
        for knob in KNOBS {
            for name in std::iter::once(&knob.name).chain(knob.aliases) {
                assert!(names.insert(*name), "{name} is there twice");
            }
            if !knob.default.is_empty() {
                check(knob, knob.name, knob.default).unwrap();
            }
            assert!(knob.help.ends_with('.'), "{}: the help is one sentence", knob.name);
        }
    }

    #[test]
    fn sections_are_in_order() {
        assert!(KNOBS.is_sorted_by_key(|knob| knob.section));
    }
}
