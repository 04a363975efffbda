use super::*;
use crate::bench::plan::tests::plan;

fn outcome() -> Outcome {
    let mut tally = Tally { nanos: 2_000_000_000, connecting: 10_000_000, ..Tally::default() };
    tally.all = Counts { connected: 4, sent: 300, received: 300, delivered: 300, ..Counts::default() };
    tally.measured = Counts { sent: 200, received: 200, ..Counts::default() };
    tally.latency.record(1_500_000);
    Outcome { tally, interrupted: false, cpu: 0.5, elapsed: 2.0 }
}

#[test]
fn people_read_rates_checks_and_percentiles() {
    let report = Report::new("pairs", "tcp://broker:1883", false, true);
    let text = report.lines(&plan(Kind::Pairs, 2, 2), &outcome()).join("\n");
    assert_eq!(
        text,
        "pairs at tcp://broker:1883: MQTT 3.1.1, 2 publishers, 2 subscribers, QoS 0, 40 bytes\n\
         connections    4 of 4 in 0.010 s, 400/s\n\
         measured       2.000 s\n\
         published      100/s, 300 in all\n\
         received       100/s, 300 in all\n\
         checked        300 delivered, 0 lost, 0 duplicated, 0 out of order, 0 corrupt\n\
         latency        p50 1.500  p90 1.500  p99 1.500  p99.9 1.500  max 1.500 ms\n\
         generator      0.50 s of CPU, 25 % of a core"
    );
}

#[test]
fn programs_read_json() {
    let mut outcome = outcome();
    outcome.tally.fail(Failure::new(Status::Lost, "gone"));
    let value = Report::new("pairs", "x", true, true).json_of(&plan(Kind::Pairs, 2, 2), &outcome);
    assert_eq!(value["received"], json!({ "messages": 300, "per_second": 100.0 }));
    assert_eq!(value["latency_ms"]["p99_9"], 1.5);
    assert_eq!(value["failures"], json!([{ "reason": "gone", "status": 9, "count": 1 }]));
    assert_eq!(value["ping_ms"], Value::Null);
}

#[test]
fn the_verdict_depends_on_what_the_quality_of_service_promises() {
    let verdict = |qos: QoS, spoil: fn(&mut Tally)| {
        let mut outcome = outcome();
        outcome.tally.all.acknowledged = if qos == QoS::AtMostOnce { 0 } else { outcome.tally.all.sent };
        spoil(&mut outcome.tally);
        outcome.verdict(&Plan { qos, ..plan(Kind::Pairs, 2, 2) })
    };
    let [zero, one, two] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let lose: fn(&mut Tally) = |tally| tally.all.lost = 7;
    assert_eq!(verdict(zero, lose), Ok(()));
    assert_eq!(verdict(one, lose), Err(Failure::other("7 messages of QoS 1 were lost")));
    let repeat: fn(&mut Tally) = |tally| tally.all.duplicated = 2;
    assert_eq!((verdict(zero, repeat), verdict(one, repeat)), (Ok(()), Ok(())));
    assert_eq!(verdict(two, repeat), Err(Failure::other("2 messages of QoS 2 came twice")));
    let silence: fn(&mut Tally) = |tally| tally.all.acknowledged -= tally.all.acknowledged.min(5);
    assert_eq!(verdict(zero, silence), Ok(()));
    assert_eq!(verdict(one, silence), Err(Failure::other("5 messages of QoS 1 were not acknowledged")));
    assert!(verdict(zero, |tally| tally.all.out_of_order = 1).is_err());
    assert!(verdict(zero, |tally| tally.all.corrupt = 1).is_err());
    let failed = verdict(zero, |tally| tally.fail(Failure::new(Status::Tls, "no")));
    assert_eq!(failed, Err(Failure::new(Status::Tls, "1 x no")));
}

#[test]
fn progress_tells_what_the_last_second_has_brought() {
    let plan = plan(Kind::Pairs, 2, 2);
    let second = Duration::from_secs(1);
    let counts = Counts { connected: 4, sent: 900, ..Counts::default() };
    let new = Counts { sent: 300, ..Counts::default() };
    assert_eq!(
        progress_line(&plan, second * 3, second, counts, new, true),
        "   3 s  4 connected  published 300/s"
    );
    let line = progress_line(&plan, second, second, counts, counts, false);
    assert_eq!(line, "   1 s  4 connected of 4, 4/s");
}
