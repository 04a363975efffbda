//! What `bench` prints: progress on stderr while it runs, the result on stdout at the end.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use mqway_codec::QoS;
use serde_json::{Map, Value, json};

use super::histogram::Histogram;
use super::plan::{Kind, Plan};
use super::tally::{Counts, Tally};
use crate::failure::{Failure, Status};

/// Of a core: from here on the generator may be what limits the rate.
const BUSY: f64 = 0.9;

/// Prints what the run does and what came of it.
pub struct Report {
    command: &'static str,
    server: String,
    json: bool,
    quiet: bool,
    /// Progress lines overwrite each other.
    rewrites: bool,
    /// What the last line of progress said, to tell what the time since has brought.
    last: Cell<(Duration, Counts)>,
    shown: Cell<bool>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was counted, by all workers.
    pub tally: Tally,
    /// The user ended it.
    pub interrupted: bool,
    /// Processor time of the generator, in seconds, while messages flowed.
    pub cpu: f64,
    /// That time, in seconds.
    pub elapsed: f64,
}

impl Report {
    /// For `mqway bench COMMAND` at that server.
    pub fn new(command: &'static str, server: &str, json: bool, quiet: bool) -> Report {
        Report {
            command,
            server: server.to_owned(),
            json,
            quiet,
            rewrites: io::stderr().is_terminal(),
            last: Cell::default(),
            shown: Cell::new(false),
        }
    }

    /// Shows how far the run is.
    pub fn progress(&self, plan: &Plan, elapsed: Duration, counts: Counts, runs: bool) {
        if self.quiet {
            return;
        }
        let (since, before) = self.last.replace((elapsed, counts));
        let line = progress_line(plan, elapsed, elapsed.saturating_sub(since), counts, counts - before, runs);
        let mut out = io::stderr().lock();
        // Nobody needs to read it.
        let _ = if self.rewrites { write!(out, "\r{line}\x1b[K") } else { writeln!(out, "{line}") };
        self.shown.set(true);
    }

    /// What is printed next is no progress.
    pub fn end_progress(&self) {
        if self.rewrites && self.shown.get() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Prints the result.
    ///
    /// # Errors
    /// If stdout takes no more.
    pub fn result(&self, plan: &Plan, outcome: &Outcome) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", self.json_of(plan, outcome))?;
        } else {
            for line in self.lines(plan, outcome) {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()
    }

    fn lines(&self, plan: &Plan, outcome: &Outcome) -> Vec<String> {
        let Outcome { tally, .. } = outcome;
        let seconds = tally.nanos as f64 / 1e9;
        let mut lines = vec![format!("{} at {}: {}", self.command, self.server, shape(plan))];
        let mut say = |name: &str, text: String| lines.push(format!("{name:<15}{text}"));
        let all = &tally.all;
        let wanted = u64::from(plan.publishers) + u64::from(plan.subscribers);
        let mut text = match plan.kind {
            Kind::Connections { churn: true } => {
                format!("{} made and closed, {}", all.connected, rate(tally.measured.connected, seconds))
            }
            _ => {
                let took = tally.connecting as f64 / 1e9;
                format!("{} of {wanted} in {took:.3} s, {}", all.connected, rate(all.connected, took))
            }
        };
        if all.failed + all.lost_connections > 0 {
            text.push_str(&format!(", {} failed, {} lost", all.failed, all.lost_connections));
        }
        say("connections", text);
        let early = if outcome.interrupted { ", then interrupted" } else { "" };
        say("measured", format!("{seconds:.3} s{early}"));
        let mut flow = |name: &str, measured: u64, all: u64| {
            if all > 0 {
                say(name, format!("{}, {all} in all", rate(measured, seconds)));
            }
        };
        flow("published", tally.measured.sent, all.sent);
        flow("acknowledged", tally.measured.acknowledged, all.acknowledged);
        flow("received", tally.measured.received, all.received);
        if plan.subscribers > 0 {
            say("checked", checked(all));
        }
        for (count, what) in [
            (all.unsent, "due, but not sent in time: the server did not keep up"),
            (all.refused, "refused by the server"),
            (all.foreign, "received that no load generator has sent now"),
        ] {
            if count > 0 {
                say("", format!("{count} messages {what}"));
            }
        }
        for (name, histogram) in [
            ("connect", &tally.connect),
            ("latency", &tally.latency),
            ("acknowledge", &tally.acknowledgement),
            ("ping", &tally.ping),
        ] {
            if histogram.count() > 0 {
                say(name, percentiles(histogram));
            }
        }
        say("generator", format!("{:.2} s of CPU, {:.0} % of a core", outcome.cpu, 100.0 * outcome.busy()));
        if outcome.busy() > BUSY * plan.workers as f64 {
            say("", "the generator itself may be the limit: more --workers may do more".to_owned());
        }
        for (reason, (_, count)) in &tally.failures {
            say("failure", format!("{count} x {reason}"));
        }
        lines
    }

    fn json_of(&self, plan: &Plan, outcome: &Outcome) -> Value {
        let Outcome { tally, .. } = outcome;
        let seconds = tally.nanos as f64 / 1e9;
        let all = &tally.all;
        let flow =
            |measured: u64, all: u64| json!({ "messages": all, "per_second": per_second(measured, seconds) });
        let failures: Vec<_> = tally
            .failures
            .iter()
            .map(|(reason, (status, count))| json!({ "reason": reason, "status": *status as u8, "count": count }))
            .collect();
        let mut result = Map::new();
        let mut put = |name: &str, value: Value| drop(result.insert(name.to_owned(), value));
        put("command", self.command.into());
        put("server", self.server.clone().into());
        put("version", plan.version.to_string().into());
        put("publishers", plan.publishers.into());
        put("subscribers", plan.subscribers.into());
        put("qos", (plan.qos as u8).into());
        put("size", plan.size.into());
        put("seconds", seconds.into());
        put("interrupted", outcome.interrupted.into());
        let connecting = match plan.kind {
            Kind::Connections { churn: true } => per_second(tally.measured.connected, seconds),
            _ => per_second(all.connected, tally.connecting as f64 / 1e9),
        };
        put(
            "connections",
            json!({
                "wanted": u64::from(plan.publishers) + u64::from(plan.subscribers),
                "connected": all.connected,
                "failed": all.failed,
                "lost": all.lost_connections,
                "per_second": connecting,
                "ms": tally.connect.to_json(),
            }),
        );
        put("published", flow(tally.measured.sent, all.sent));
        put("acknowledged", flow(tally.measured.acknowledged, all.acknowledged));
        put("received", flow(tally.measured.received, all.received));
        put(
            "checked",
            json!({
                "delivered": all.delivered,
                "lost": all.lost,
                "duplicated": all.duplicated,
                "out_of_order": all.out_of_order,
                "corrupt": all.corrupt,
                "foreign": all.foreign,
                "refused": all.refused,
                "unsent": all.unsent,
            }),
        );
        put("latency_ms", tally.latency.to_json());
        put("acknowledge_ms", tally.acknowledgement.to_json());
        put("ping_ms", tally.ping.to_json());
        put("failures", failures.into());
        put("generator", json!({ "cpu_seconds": outcome.cpu, "busy": outcome.busy() }));
        Value::Object(result)
    }
}

impl Outcome {
    /// Cores that the generator has used.
    fn busy(&self) -> f64 {
        if self.elapsed > 0.01 { self.cpu / self.elapsed } else { 0.0 }
    }

    /// Whether the server has done what it promises.
    ///
    /// # Errors
    /// If connections or messages have failed; else if messages were lost or not acknowledged (QoS 1 and 2), came twice
    /// (QoS 2), in the wrong order or with another content.
    pub fn verdict(&self, plan: &Plan) -> Result<(), Failure> {
        if let Some((reason, status, count)) = self.tally.main_failure() {
            let others = self.tally.failures.len() - 1;
            let more = if others > 0 { format!(" (and {others} other reasons)") } else { String::new() };
            return Err(Failure::new(status, format_args!("{count} x {reason}{more}")));
        }
        let all = &self.tally.all;
        // Whoever ends it does not wait for the last ones.
        let waited = plan.qos != QoS::AtMostOnce && !self.interrupted;
        let unanswered = if waited { all.sent.saturating_sub(all.acknowledged + all.refused) } else { 0 };
        let wrong = [
            (all.corrupt, "came with another content than was sent, or were never sent"),
            (all.out_of_order, "came out of order"),
            (if plan.qos == QoS::AtMostOnce { 0 } else { all.lost }, "were lost"),
            (if plan.qos == QoS::ExactlyOnce { all.duplicated } else { 0 }, "came twice"),
            (unanswered, "were not acknowledged"),
        ];
        match wrong.into_iter().find(|(count, _)| *count > 0) {
            Some((count, what)) => Err(Failure::new(
                Status::Other,
                format_args!("{count} messages of QoS {} {what}", plan.qos as u8),
            )),
            None => Ok(()),
        }
    }
}

fn progress_line(
    plan: &Plan,
    elapsed: Duration,
    since: Duration,
    counts: Counts,
    new: Counts,
    runs: bool,
) -> String {
    let per = |count: u64| per_second(count, since.as_secs_f64()).round();
    let mut line = format!("{:>4} s  {} connected", elapsed.as_secs(), counts.connected);
    if !runs {
        let wanted = u64::from(plan.publishers) + u64::from(plan.subscribers);
        line.push_str(&format!(" of {wanted}, {}/s", per(new.connected)));
    } else if plan.kind == (Kind::Connections { churn: true }) {
        line.push_str(&format!(", {}/s", per(new.connected)));
    } else {
        for (name, count, new) in [
            ("published", counts.sent, new.sent),
            ("acknowledged", counts.acknowledged, new.acknowledged),
            ("received", counts.received, new.received),
        ] {
            if count > 0 {
                line.push_str(&format!("  {name} {}/s", per(new)));
            }
        }
    }
    let failed = counts.failed + counts.lost_connections;
    if failed > 0 {
        line.push_str(&format!("  {failed} failed"));
    }
    line
}

fn shape(plan: &Plan) -> String {
    let mut text = format!("MQTT {}", plan.version);
    match plan.kind {
        Kind::Connections { .. } => text.push_str(&format!(", {} at a time", plan.publishers)),
        _ => {
            for (count, what) in [(plan.publishers, "publisher"), (plan.subscribers, "subscriber")] {
                if count > 0 {
                    text.push_str(&format!(", {count} {what}{}", if count == 1 { "" } else { "s" }));
                }
            }
            text.push_str(&format!(", QoS {}, {} bytes", plan.qos as u8, plan.size));
        }
    }
    text
}

fn checked(all: &Counts) -> String {
    format!(
        "{} delivered, {} lost, {} duplicated, {} out of order, {} corrupt",
        all.delivered, all.lost, all.duplicated, all.out_of_order, all.corrupt
    )
}

fn percentiles(histogram: &Histogram) -> String {
    let millis = |nanos: u64| format!("{:.3}", nanos as f64 / 1e6);
    let at = |share: f64| millis(histogram.percentile(share));
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        millis(histogram.largest())
    )
}

fn rate(count: u64, seconds: f64) -> String {
    format!("{:.0}/s", per_second(count, seconds))
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests;
