//! What `ping` prints: a line a step, for people or as JSON.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

/// Something worth telling about a step: its name and its value.
pub type Fact = (&'static str, Value);

/// Prints steps on stdout as they are done.
pub struct Report {
    json: bool,
}

impl Report {
    /// For people, or one JSON object a line.
    pub fn new(json: bool) -> Report {
        Report { json }
    }

    /// A step is done, and took so long.
    ///
    /// # Errors
    /// If stdout takes no more.
    pub fn step(&self, name: &str, took: Duration, facts: &[Fact]) -> io::Result<()> {
        let line = if self.json { json(name, took, facts) } else { text(name, took, facts) };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

/// The step's name comes first, for those who read along.
fn json(name: &str, took: Duration, facts: &[Fact]) -> String {
    let mut line = format!("{{\"step\":{},\"ms\":{}", Value::from(name), millis(took));
    for (key, value) in facts {
        line.push_str(&format!(",{}:{value}", Value::from(key.replace(' ', "_"))));
    }
    line.push('}');
    line
}

fn text(name: &str, took: Duration, facts: &[Fact]) -> String {
    let facts: Vec<_> = facts.iter().filter(|(_, value)| !value.is_null()).map(in_words).collect();
    let line = format!("{name:<13}{:>10.3} ms   {}", millis(took), facts.join(", "));
    line.trim_end().to_owned()
}

fn in_words((key, value): &Fact) -> String {
    match value {
        Value::String(value) => format!("{key} {value}"),
        Value::Bool(true) => format!("{key} yes"),
        Value::Bool(false) => format!("{key} no"),
        value => format!("{key} {value}"),
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_line() {
        let facts = [
            ("topic", "a/b".into()),
            ("session present", false.into()),
            ("qos", 1.into()),
            ("tls", Value::Null),
        ];
        let took = Duration::from_nanos(1_234_567);
        assert_eq!(
            text("subscribed", took, &facts),
            "subscribed        1.235 ms   topic a/b, session present no, qos 1"
        );
        assert_eq!(
            json("subscribed", took, &facts),
            r#"{"step":"subscribed","ms":1.235,"topic":"a/b","session_present":false,"qos":1,"tls":null}"#
        );
        assert_eq!(text("disconnected", Duration::ZERO, &[]), "disconnected      0.000 ms");
    }
}
