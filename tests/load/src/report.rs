//! Figures: one JSON line for programs, a table for people.

use serde_json::{Map, Value, json};

/// Named figures in the order in which they are shown.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<(String, f64, &'static str)>);

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push((name.into(), value, unit));
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(one, ..)| one == name).map(|(_, value, _)| *value)
    }

    fn unit(&self, name: &str) -> &'static str {
        self.0.iter().find(|(one, ..)| one == name).map_or("", |(_, _, unit)| unit)
    }
}

/// Milliseconds of microseconds.
pub fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

/// The whole run as one line.
pub fn json_line(scenario: &str, columns: &[(String, Figures)]) -> String {
    let servers: Map<String, Value> = columns
        .iter()
        .map(|(server, figures)| {
            let figures = figures.0.iter().map(|(name, value, unit)| {
                let name = if unit.is_empty() { name.clone() } else { format!("{name} [{unit}]") };
                (name, json!(value))
            });
            (server.clone(), Value::Object(figures.collect()))
        })
        .collect();
    json!({"scenario": scenario, "servers": servers}).to_string()
}

/// A column a server; with more than one, what the last is to the first.
pub fn table(columns: &[(String, Figures)]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, figures) in columns {
        for (name, ..) in &figures.0 {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let mut text = format!("{:44}", "");
    for (server, _) in columns {
        text.push_str(&format!("{server:>16}"));
    }
    text.push('\n');
    for name in names {
        let unit = columns.iter().map(|(_, figures)| figures.unit(name)).find(|unit| !unit.is_empty());
        text.push_str(&format!("{:44}", format!("{name} {}", unit.unwrap_or_default())));
        for (_, figures) in columns {
            text.push_str(
                &figures.get(name).map_or(format!("{:>16}", "-"), |value| format!("{:>16}", short(value))),
            );
        }
        if let [(_, first), .., (_, last)] = columns
            && let (Some(first), Some(last)) = (first.get(name), last.get(name))
            && first > 0.0
        {
            text.push_str(&format!("   × {}", short(last / first)));
        }
        text.push('\n');
    }
    text
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
