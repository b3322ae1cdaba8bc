//! The table that a run ends with.

/// A figure and its goal.
pub struct Row {
    pub figure: String,
    pub goal: String,
    pub measured: String,
    /// `None` where the figure is only reported.
    pub is_met: Option<bool>,
}

impl Row {
    /// A figure that must not be below its goal.
    pub fn at_least(figure: &str, goal: f64, measured: f64, detail: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            goal: format!("≥ {goal}"),
            measured: format!("{measured:.2}{detail}"),
            is_met: Some(measured >= goal),
        }
    }

    /// A figure that must not be above its goal.
    pub fn at_most(figure: &str, goal: f64, unit: &str, measured: f64, detail: &str) -> Self {
        Self {
            figure: figure.to_owned(),
            goal: format!("≤ {goal}{unit}"),
            measured: format!("{measured:.2}{unit}{detail}"),
            is_met: Some(measured <= goal),
        }
    }

    /// A figure without a goal.
    pub fn report(figure: &str, measured: String) -> Self {
        Self {
            figure: figure.to_owned(),
            goal: "report".to_owned(),
            measured,
            is_met: None,
        }
    }
}

pub fn print(rows: &[Row]) {
    println!("\n| figure | goal | measured | |\n|---|---|---|---|");
    for row in rows {
        let verdict = match row.is_met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "",
        };
        println!(
            "| {} | {} | {} | {verdict} |",
            row.figure, row.goal, row.measured
        );
    }
}

/// The middle one; of an even number the higher of the two.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
