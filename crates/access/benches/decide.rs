//! Nanoseconds per decision, with 1,000 rules: `cargo bench -p mqway-access`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use mqway_access::acl::{Acl, Rights, Subject};
use mqway_access::http::{By, Question, Service, ServiceSettings, Ticket, Who};
use mqway_access::password::{PasswordFile, PasswordHash, Recent};
use mqway_codec::{TopicFilter, TopicName};

/// Rules of each file.
const RULES: usize = 1_000;
/// Decisions that are timed.
const DECISIONS: u32 = 2_000_000;

fn main() {
    let kinds = [
        (
            "for everyone",
            Acl::parse("acl", &rules(|n| format!("topics = 'site/{n}/+/#'"))).expect("as written here"),
        ),
        (
            "with %c",
            Acl::parse("acl", &rules(|n| format!("topics = 'site/{n}/%c/#'"))).expect("as written here"),
        ),
        (
            "of as many users",
            Acl::parse("acl", &rules(|n| format!("topics = 'site/{n}/#'\nusers = 'u{n}'")))
                .expect("as written here"),
        ),
        ("mosquitto's, as many users", Acl::parse_mosquitto("acl", &users()).expect("as written here")),
    ];
    for (kind, acl) in &kinds {
        let subject = Subject { user: Some("u500"), client_id: "c7", ..Subject::default() };
        let mut rights = acl.rights(&subject);
        for topics in [1, 4, 1_000] {
            let names: Vec<String> = (0..topics).map(|n| format!("site/500/c7/temperature/{n}")).collect();
            print(kind, &format!("publish, {topics} topics in turn"), publish(&mut rights, &names));
        }
        let start = Instant::now();
        for _ in 0..1_000 {
            black_box(acl.rights(black_box(&subject)));
        }
        print(kind, "connect", start.elapsed() / 1_000);
        let start = Instant::now();
        let filter = TopicFilter::new("site/500/c7/#").expect("as written here");
        for _ in 0..1_000 {
            black_box(rights.may_subscribe(black_box(filter)));
        }
        print(kind, "subscribe", start.elapsed() / 1_000);
    }
    passwords();
    web_service();
}

/// What a web service has answered before: who is asked again, and how long it takes with the service itself.
fn web_service() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"result\":\"allow\"}";
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Questions are short enough to come in one piece.
            let answer = move || {
                while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    let _ = stream.write_all(ANSWER.as_bytes());
                }
            };
            thread::spawn(answer);
        }
    });
    let service = Service::start(ServiceSettings::new(url)).expect("it is well-formed");
    let who = Who { client_id: "c7", user_name: Some("u500"), transport: "tcp", ..Who::default() };
    let ask = |topic: &str| {
        let (done, answer) = channel();
        let promise = || -> (Ticket, ()) { (Box::new(move |answer| drop(done.send(answer))), ()) };
        let question = Question::Publish { who, topic, qos: 0, retain: false, will: false };
        let answered = service.ask(black_box(question), promise);
        answered.unwrap_or_else(|()| answer.recv().expect("an answer comes always"))
    };
    let start = Instant::now();
    for number in 0..1_000 {
        assert_eq!(ask(&format!("site/500/c7/temperature/{number}")).by, By::Service);
    }
    print("web service", "asked, on this machine", start.elapsed() / 1_000);
    let start = Instant::now();
    for _ in 0..1_000_000 {
        assert_eq!(ask("site/500/c7/temperature/7").by, By::Cache);
    }
    print("web service", "known lately", start.elapsed() / 1_000_000);
}

fn passwords() {
    let hash = PasswordHash::new(b"sesame").expect("as written here");
    let file = PasswordFile::parse(format!("alice:{hash}\n").as_bytes()).expect("as written here");
    let recent = Recent::new(1_000, Duration::from_secs(600)).expect("as written here");
    let start = Instant::now();
    recent.check(&file, "alice", b"sesame", Duration::ZERO);
    print("password", "hashed", start.elapsed());
    let start = Instant::now();
    for _ in 0..10_000 {
        assert!(recent.knows(black_box(&file), "alice", b"sesame", Duration::ZERO));
    }
    print("password", "known lately", start.elapsed() / 10_000);
}

fn publish(rights: &mut Rights, names: &[String]) -> Duration {
    let topics: Vec<TopicName<'_>> =
        names.iter().map(|name| TopicName::new(name).expect("as written here")).collect();
    let start = Instant::now();
    for topic in topics.iter().cycle().take(DECISIONS as usize) {
        assert!(rights.may_publish(black_box(*topic)));
    }
    start.elapsed() / DECISIONS
}

fn rules(rest: impl Fn(usize) -> String) -> String {
    (0..RULES).map(|n| format!("[[rules]]\nallow = 'all'\n{}\n", rest(n))).collect()
}

fn users() -> String {
    (0..RULES).map(|n| format!("user u{n}\ntopic readwrite site/{n}/#\n")).collect()
}

fn print(kind: &str, what: &str, time: Duration) {
    println!("{kind:<28} {what:<28} {:>12} ns", time.as_nanos());
}
