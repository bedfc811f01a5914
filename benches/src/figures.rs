//! Figures with their spread over the rounds, and the goals they are held against.

use std::fmt;

/// A figure: the median of the rounds, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// In the middle.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Figure {
    /// Of what is measured once.
    pub fn one(figure: f64) -> Self {
        Self { median: figure, low: figure, high: figure }
    }

    /// Of the rounds. `None` without any.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let median = *rounds.get(rounds.len() / 2)?;
        Some(Self { median, low: *rounds.first()?, high: *rounds.last()? })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        // Three digits, whatever the size.
        let decimals = if *median < 10.0 { 2 } else { usize::from(*median < 100.0) };
        if low == high {
            return write!(f, "{median:.decimals$}");
        }
        write!(f, "{median:.decimals$} ({low:.decimals$}–{high:.decimals$})")
    }
}

/// Bounds that a figure is to stay below.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// What has to be.
    pub must: f64,
    /// What would be hard to beat.
    pub extreme: f64,
}

/// A goal with what came of it.
struct Row {
    name: String,
    unit: &'static str,
    goal: Goal,
    figure: Figure,
}

/// What came of the goals.
#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    /// Holds a figure against a goal: what must be, and what is extreme.
    pub fn judge(&mut self, name: impl Into<String>, unit: &'static str, goal: (f64, f64), figure: Figure) {
        let goal = Goal { must: goal.0, extreme: goal.1 };
        self.0.push(Row { name: name.into(), unit, goal, figure });
    }

    /// Whether every goal is met.
    pub fn is_met(&self) -> bool {
        self.0.iter().all(|row| row.figure.median <= row.goal.must)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| goal | figure | must | extreme | |\n|---|---|---|---|---|")?;
        for Row { name, unit, goal: Goal { must, extreme }, figure } in &self.0 {
            let verdict = match figure.median {
                median if median <= *extreme => "met, extreme too",
                median if median <= *must => "met",
                _ => "**missed**",
            };
            writeln!(f, "| {name} | {figure} {unit} | ≤ {must} | ≤ {extreme} | {verdict} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let figure = Figure::of([3.0, 1.0, 200.0]).unwrap();
        assert_eq!(figure, Figure { median: 3.0, low: 1.0, high: 200.0 });
        assert_eq!(figure.to_string(), "3.00 (1.00–200.00)");
        assert_eq!(Figure::of([12.34]).unwrap().to_string(), "12.3");
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn goals_are_met_and_missed() {
        let mut report = Report::default();
        report.judge("fine", "×", (1.0, 0.5), Figure::one(0.5));
        report.judge("good", "×", (1.0, 0.5), Figure::one(0.6));
        assert!(report.is_met());
        report.judge("bad", "×", (1.0, 0.5), Figure::one(1.1));
        assert!(!report.is_met());
        let text = report.to_string();
        for row in ["| fine | 0.50 × | ≤ 1 | ≤ 0.5 | met, extreme too |", "| good | 0.60 × | ≤ 1 | ≤ 0.5 | met |"]
        {
            assert!(text.contains(row), "{text}");
        }
        assert!(text.contains("| bad | 1.10 × | ≤ 1 | ≤ 0.5 | **missed** |"), "{text}");
    }
}
