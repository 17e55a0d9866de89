//! Figures: a table for people, JSON for comparing runs.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Serialize, Serializer};

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The value itself is at most this.
    ValueAtMost(f64),
    /// Value divided by reference is at most this.
    RatioAtMost(f64),
    /// The value itself is at least this.
    ValueAtLeast(f64),
    /// Value divided by reference is at least this.
    RatioAtLeast(f64),
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Unit of value and reference.
    pub unit: &'static str,
    /// The result.
    pub value: f64,
    /// What it is compared with, measured in the same run.
    pub reference: Option<f64>,
    /// Value divided by reference.
    pub ratio: Option<f64>,
    /// As text, such as `ratio <= 1.5`; absent for a figure that is only told.
    #[serde(serialize_with = "goal_text")]
    pub goal: Option<Goal>,
    /// Whether the goal is reached; absent without a goal.
    pub met: Option<bool>,
}

impl Figure {
    /// A value that stands alone.
    pub fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Figure { name: name.into(), unit, value, reference: None, ratio: None, goal: None, met: None }
    }

    /// Compares with `reference`. A reference of 0 gives no ratio.
    #[must_use]
    pub fn against(mut self, reference: f64) -> Self {
        self.reference = Some(reference);
        self.ratio = (reference != 0.0).then(|| self.value / reference);
        self
    }

    /// Sets what is to be reached; after `against` where the goal is a ratio.
    #[must_use]
    pub fn to_reach(mut self, goal: Goal) -> Self {
        self.met = match goal {
            Goal::ValueAtMost(most) => Some(self.value <= most),
            Goal::RatioAtMost(most) => self.ratio.map(|ratio| ratio <= most),
            Goal::ValueAtLeast(least) => Some(self.value >= least),
            Goal::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
        };
        self.goal = Some(goal);
        self
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Goal::ValueAtMost(most) => format!("<= {}", number(most)),
            Goal::RatioAtMost(most) => format!("ratio <= {}", number(most)),
            Goal::ValueAtLeast(least) => format!(">= {}", number(least)),
            Goal::RatioAtLeast(least) => format!("ratio >= {}", number(least)),
        }
    }
}

fn goal_text<S: Serializer>(goal: &Option<Goal>, serializer: S) -> Result<S::Ok, S::Error> {
    goal.map(Goal::text).serialize(serializer)
}

/// Few digits, and no `.00` behind a count.
fn number(value: f64) -> String {
    let decimals = if value.fract() == 0.0 || value.abs() >= 1000.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// The figures as a table in Markdown, aligned for a terminal.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "value", "reference", "ratio", "goal", "met"].map(str::to_owned)];
    let or_nothing = |value: Option<f64>| value.map(number).unwrap_or_default();
    for figure in figures {
        rows.push([
            figure.name.clone(),
            format!("{} {}", number(figure.value), figure.unit).trim_end().to_owned(),
            or_nothing(figure.reference),
            or_nothing(figure.ratio),
            figure.goal.map(Goal::text).unwrap_or_default(),
            figure.met.map_or("", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]);
    }
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    rows.insert(1, widths.map(|width| "-".repeat(width)));
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String can not fail.
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
    }
    text
}

/// Writes the figures as a JSON list.
///
/// # Errors
/// When the file can not be written.
pub fn write(figures: &[Figure], file: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_against_its_goal() {
        let figure = |value: f64| Figure::new("cold", "s", value).against(10.0).to_reach(Goal::RatioAtMost(1.5));
        assert_eq!((figure(15.0).ratio, figure(15.0).met), (Some(1.5), Some(true)));
        assert_eq!(figure(16.0).met, Some(false));
        let rate = |value: f64| Figure::new("rate", "/s", value).against(10.0).to_reach(Goal::RatioAtLeast(2.0));
        assert_eq!((rate(20.0).met, rate(19.0).met), (Some(true), Some(false)));
        assert_eq!(Figure::new("x", "", 0.0).against(0.0).to_reach(Goal::RatioAtMost(1.5)).met, None);
    }

    #[test]
    fn json_has_the_fields_that_every_benchmark_has() {
        let figure = Figure::new("memory", "MB", 41.5).to_reach(Goal::ValueAtMost(40.0));
        let json = serde_json::to_value([figure]).unwrap();
        let expected = serde_json::json!([{
            "name": "memory", "unit": "MB", "value": 41.5, "reference": null, "ratio": null, "goal": "<= 40", "met": false,
        }]);
        assert_eq!(json, expected);
    }

    #[test]
    fn a_table_is_aligned() {
        let text = table(&[Figure::new("a", "", 12.0), Figure::new("longer name", "s", 1.234).against(2.0)]);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths.len(), 4);
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{text}");
        assert!(text.contains("1.23 s"), "{text}");
    }
}
