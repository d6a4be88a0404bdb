//! What the doctor found and what it looked at, for people and for programs.

use serde_json::{Value, json};

use super::super::screen::{BAD, FAINT, GOOD, STRONG, VALUE, WORRY, paint};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Something does not work.
    Error,
    /// Something will not work, or not as people expect.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One step of what mends a finding.
#[derive(Debug)]
enum Mend {
    /// A statement that runs as it is.
    Sql(String),
    /// A setting, a command of the shell, or an act.
    Do(String),
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    /// Its name; stays the same in all versions.
    code: &'static str,
    level: Level,
    /// One sentence: what is wrong and what that breaks.
    what: String,
    /// In this order.
    mend: Vec<Mend>,
}

impl Finding {
    /// A statement that mends it.
    pub(super) fn sql(&mut self, statement: impl Into<String>) -> &mut Self {
        self.mend.push(Mend::Sql(statement.into()));
        self
    }

    /// Statements that mend it.
    pub(super) fn all_sql(&mut self, statements: impl IntoIterator<Item = String>) -> &mut Self {
        self.mend.extend(statements.into_iter().map(Mend::Sql));
        self
    }

    /// Something else that mends it.
    pub(super) fn by(&mut self, act: impl Into<String>) -> &mut Self {
        self.mend.push(Mend::Do(act.into()));
        self
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    /// What was looked at, and how it is.
    checked: Vec<(&'static str, String)>,
}

impl Report {
    /// Something does not work.
    pub(super) fn error(&mut self, code: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(code, Level::Error, what.into())
    }

    /// Something will not work, or not as people expect.
    pub(super) fn warning(&mut self, code: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(code, Level::Warning, what.into())
    }

    /// Good to know.
    pub(super) fn note(&mut self, code: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(code, Level::Note, what.into())
    }

    fn add(&mut self, code: &'static str, level: Level, what: String) -> &mut Finding {
        let at = self.findings.partition_point(|finding| finding.level <= level);
        self.findings.insert(at, Finding { code, level, what, mend: Vec::new() });
        #[expect(clippy::indexing_slicing, reason = "it was put there in the line before")]
        &mut self.findings[at]
    }

    /// That this part was looked at, and how it is.
    pub(super) fn checked(&mut self, part: &'static str, state: impl Into<String>) {
        self.checked.push((part, state.into()));
    }

    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.count(Level::Error)
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// For people: what was looked at, then what is wrong, the worst first.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![paint(STRONG, "Checked")];
        for (part, state) in &self.checked {
            lines.push(format!("  {part:<13}{}", paint(FAINT, state)));
        }
        for Finding { code, level, what, mend } in &self.findings {
            let style = match level {
                Level::Error => BAD,
                Level::Warning => WORRY,
                Level::Note => STRONG,
            };
            lines.push(format!("\n{} {}", paint(style, level.name()), paint(FAINT, code)));
            lines.push(format!("  {what}"));
            lines.extend(mend.iter().map(|step| match step {
                Mend::Sql(sql) => format!("    {}", paint(VALUE, format!("{sql};"))),
                Mend::Do(act) => format!("    {act}"),
            }));
        }
        let count = |level, one, many| match self.count(level) {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {many}")),
        };
        let counts: Vec<String> = [
            count(Level::Error, "error", "errors"),
            count(Level::Warning, "warning", "warnings"),
            count(Level::Note, "note", "notes"),
        ]
        .into_iter()
        .flatten()
        .collect();
        lines.push(match counts.is_empty() {
            true => format!("\n{}", paint(GOOD, "Nothing is wrong.")),
            false => format!("\n{}.", counts.join(", ")),
        });
        lines.join("\n")
    }

    /// The same as one JSON document.
    pub(super) fn json(&self) -> Value {
        let finding = |Finding { code, level, what, mend }: &Finding| {
            let mend: Vec<Value> = mend
                .iter()
                .map(|step| match step {
                    Mend::Sql(sql) => json!({ "sql": sql }),
                    Mend::Do(act) => json!({ "do": act }),
                })
                .collect();
            json!({ "code": code, "level": level.name(), "what": what, "mend": mend })
        };
        let part = |(part, state): &(&str, String)| json!({ "part": part, "state": state });
        json!({
            "errors": self.count(Level::Error),
            "warnings": self.count(Level::Warning),
            "notes": self.count(Level::Note),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "checked": self.checked.iter().map(part).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.checked("server", "PostgreSQL 15.8");
        report.note("late", "A note.");
        report.warning("later", "A warning.").by("restart it");
        report.error("now", "An error.").sql("select 1").by("wait");
        report
    }

    #[test]
    fn the_worst_comes_first_with_what_mends_it() {
        let text = anstream::adapter::strip_str(&report().text()).to_string();
        let wanted = "Checked\n  server       PostgreSQL 15.8\n\
            \nerror now\n  An error.\n    select 1;\n    wait\n\
            \nwarning later\n  A warning.\n    restart it\n\
            \nnote late\n  A note.\n\
            \n1 error, 1 warning, 1 note.";
        assert_eq!(text, wanted);
    }

    #[test]
    fn programs_get_one_document() {
        let json = report().json();
        assert_eq!((&json["errors"], &json["findings"][0]["code"]), (&json!(1), &json!("now")));
        assert_eq!(json["findings"][0]["mend"], json!([{ "sql": "select 1" }, { "do": "wait" }]));
        assert_eq!(json["checked"][0], json!({ "part": "server", "state": "PostgreSQL 15.8" }));
    }

    #[test]
    fn nothing_wrong_says_so() {
        assert!(Report::default().text().contains("Nothing is wrong."));
    }
}
