//! How verdicts combine, and answers that come later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use mqway_codec::{Connect, QoS, ReasonCode, SubscribeOptions, TopicFilter, TopicName, Version, Will};
use mqway_transport::facts::Facts;

use crate::*;

mod admit;

/// Answers as a worker would get them.
struct Post(Sender<(u64, u32, Answer)>);

impl Answers for Post {
    fn answer(&self, client: u64, turn: u32, answer: Answer) {
        let _ = self.0.send((client, turn, answer));
    }
}

/// A connection, with what a server keeps of it.
struct Scene {
    client: Client,
    progress: Progress,
    answers: Arc<dyn Answers>,
    post: Receiver<(u64, u32, Answer)>,
}

impl Scene {
    fn new() -> Scene {
        let (to, post) = channel();
        let client = Client::new(1, "mqtt://:1883".into(), Facts::default());
        Scene { client, progress: Progress::default(), answers: Arc::new(Post(to)), post }
    }

    fn login(&mut self, hooks: &Hooks, login: &mut Login<'_>, refused: RefusedWill) -> Outcome {
        hooks.login(&mut self.client, login, &mut self.progress, &self.answers, refused)
    }

    fn publish(&mut self, hooks: &Hooks, message: &mut Message<'_>) -> Outcome {
        hooks.publish(&mut self.client, message, &mut self.progress, &self.answers)
    }

    /// Gives the answer that has come to whoever waits for it.
    fn hear(&mut self) -> bool {
        let (_, turn, answer) = self.post.recv().unwrap();
        self.progress.answered(turn, answer)
    }
}

/// Says what it is told to, and keeps the tickets of what it will say later.
#[derive(Default)]
struct Says {
    verdicts: Mutex<Vec<Verdict>>,
    later: bool,
    tickets: Mutex<Vec<Ticket>>,
    asked: Mutex<Vec<String>>,
}

impl Says {
    fn now(verdicts: impl IntoIterator<Item = Verdict>) -> Arc<Says> {
        let mut verdicts: Vec<_> = verdicts.into_iter().collect();
        verdicts.reverse();
        Arc::new(Says { verdicts: Mutex::new(verdicts), ..Says::default() })
    }

    fn later() -> Arc<Says> {
        Arc::new(Says { later: true, ..Says::default() })
    }

    fn say(&self, about: &str, later: Later<'_>) -> Verdict {
        self.asked.lock().unwrap().push(about.to_owned());
        if self.later {
            let (ticket, waiting) = later.ticket();
            self.tickets.lock().unwrap().push(ticket);
            return Verdict::Later(waiting);
        }
        self.verdicts.lock().unwrap().pop().unwrap_or(Verdict::Pass)
    }

    fn ticket(&self) -> Ticket {
        self.tickets.lock().unwrap().pop().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Authenticate for Says {
    fn name(&self) -> &str {
        "says"
    }

    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict {
        self.say(&login.client_id, later)
    }
}

impl Authorize for Says {
    fn name(&self) -> &str {
        "says"
    }

    fn publish(&self, _: &mut Client, message: &Message<'_>, later: Later<'_>) -> Verdict {
        self.say(message.topic(), later)
    }

    fn subscribe(&self, _: &mut Client, wanted: &mut Subscription<'_>, later: Later<'_>) -> Verdict {
        wanted.lower_qos(QoS::AtLeastOnce);
        self.say(wanted.filter.as_str(), later)
    }
}

/// Puts all topics below `home/`, and takes them out again.
struct Mount;

impl Transform for Mount {
    fn name(&self) -> &str {
        "mount"
    }

    fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = format!("home/{}", message.topic());
        message.set_topic(topic).map_err(|_| Denial::new(ReasonCode::TopicNameInvalid, "mount"))
    }

    fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        let topic = message.topic().strip_prefix("home/").map(str::to_owned);
        let topic = topic.ok_or_else(|| Denial::not_authorized("mount"))?;
        message.set_topic(topic).map_err(|_| Denial::not_authorized("mount"))
    }
}

fn no(rule: &'static str) -> Verdict {
    Verdict::Deny(Denial::not_authorized(rule))
}

fn message(topic: &str) -> Message<'_> {
    Message::new(TopicName::new(topic).unwrap(), b"payload")
}

#[test]
fn the_first_that_has_an_opinion_decides() {
    let (first, second) = (Says::now([Verdict::Pass]), Says::now([no("second")]));
    let third = Says::now([Verdict::Allow]);
    let mut hooks = Hooks::new();
    for hook in [&first, &second, &third] {
        hooks.add_authorize(hook.clone());
    }
    let mut scene = Scene::new();
    let outcome = scene.publish(&hooks, &mut message("a"));
    assert_eq!(outcome, Outcome::Denied(Denial::not_authorized("second")));
    assert!(third.asked().is_empty());
    // Now all three pass, the third allows.
    assert_eq!(scene.publish(&hooks, &mut message("a")), Outcome::Go);
    assert_eq!(third.asked(), ["a"]);
}

#[test]
fn who_judges_sees_the_server_s_topics_in_both_directions() {
    struct Judge(Mutex<Vec<String>>);
    impl Authorize for Judge {
        fn name(&self) -> &str {
            "judge"
        }
        fn phases(&self) -> Phases {
            Phases::of(&[Phase::Publish, Phase::Deliver])
        }
        fn publish(&self, _: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
            self.0.lock().unwrap().push(message.topic().to_owned());
            Verdict::Allow
        }
        fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
            self.0.lock().unwrap().push(message.topic().to_owned());
            Ok(())
        }
    }
    let judge = Arc::new(Judge(Mutex::default()));
    let mut hooks = Hooks::new();
    hooks.add_authorize(judge.clone());
    hooks.add_transform(Arc::new(Mount));
    let mut scene = Scene::new();
    let mut sent = message("a");
    assert_eq!(scene.publish(&hooks, &mut sent), Outcome::Go);
    let mut received = message(sent.topic());
    hooks.deliver(&mut scene.client, &mut received).unwrap();
    assert_eq!(received.topic(), "a");
    assert_eq!(*judge.0.lock().unwrap(), ["home/a", "home/a"]);
}

#[test]
fn what_goes_to_a_client_is_changed_in_the_opposite_order() {
    /// Puts a level in front, which is taken away again.
    struct Level(&'static str);
    impl Transform for Level {
        fn name(&self) -> &str {
            self.0
        }
        fn publish(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
            let topic = format!("{}/{}", self.0, message.topic());
            message.set_topic(topic).map_err(|_| Denial::not_authorized("level"))
        }
        fn deliver(&self, _: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
            let inner = message.topic().strip_prefix(self.0).and_then(|rest| rest.strip_prefix('/'));
            let inner = inner.map(str::to_owned).ok_or_else(|| Denial::not_authorized("level"))?;
            message.set_topic(inner).map_err(|_| Denial::not_authorized("level"))
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_transform(Arc::new(Level("inner")));
    hooks.add_transform(Arc::new(Level("outer")));
    let mut scene = Scene::new();
    let mut sent = message("a");
    assert_eq!(scene.publish(&hooks, &mut sent), Outcome::Go);
    assert_eq!(sent.topic(), "outer/inner/a");
    hooks.deliver(&mut scene.client, &mut sent).unwrap();
    assert_eq!(sent.topic(), "a");
}

#[test]
fn who_changes_packets_is_asked_whether_it_can_once_the_client_is_known() {
    struct Mounts;
    impl Transform for Mounts {
        fn name(&self) -> &str {
            "mounts"
        }
        fn admit(&self, client: &mut Client, _: &Login<'_>) -> Result<(), Denial> {
            let user = client.user_name.as_deref().ok_or_else(|| Denial::not_authorized("no name"))?;
            let filter = format!("home/{user}").into();
            client.subscriptions.push((filter, SubscribeOptions::default()));
            Ok(())
        }
    }
    let named = Says::later();
    let mut hooks = Hooks::new();
    hooks.add_authenticate(named.clone());
    hooks.add_transform(Arc::new(Mounts));
    for (user, expected) in
        [(Some("ann"), Outcome::Go), (None, Outcome::Denied(Denial::not_authorized("no name")))]
    {
        let mut scene = Scene::new();
        let mut connect = Connect::new(Version::V5, "c");
        connect.will = Some(Will::new("a", b"gone"));
        let mut login = Login::new(&connect);
        assert!(matches!(scene.login(&hooks, &mut login, RefusedWill::Refuse), Outcome::Wait(_)));
        // Who it is, it says later; and shown again, it is subscribed no more than once.
        let user = user.map(str::to_owned);
        named.ticket().allow_with(move |_, login| login.user_name = user.map(Into::into));
        assert!(scene.hear());
        let outcome = scene.login(&hooks, &mut login, RefusedWill::Refuse);
        let subscribed = usize::from(outcome == Outcome::Go);
        assert_eq!((outcome, scene.client.subscriptions.len()), (expected, subscribed));
    }
}

/// Lets pass what is not called `no`, below a name of its own, and counts how often it is asked.
#[derive(Default)]
struct ByTopic {
    asked: AtomicUsize,
    by_more: bool,
}

impl Authorize for ByTopic {
    fn name(&self) -> &str {
        "by topic"
    }
    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish, Phase::Deliver])
    }
    fn by_topic(&self) -> bool {
        !self.by_more
    }
    fn publish(&self, _: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if message.topic().ends_with("no") { no("its name") } else { Verdict::Pass }
    }
    fn deliver(&self, _: &mut Client, message: &Message<'_>) -> Result<(), Denial> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if message.topic().ends_with("no") { Err(Denial::not_authorized("its name")) } else { Ok(()) }
    }
}

#[test]
fn who_goes_by_topics_alone_is_asked_once_for_each() {
    let judge = Arc::new(ByTopic::default());
    let mut hooks = Hooks::new();
    hooks.add_authorize(judge.clone());
    hooks.add_transform(Arc::new(MountByTopic));
    let mut scene = Scene::new();
    let asked = |expected: usize| assert_eq!(judge.asked.swap(0, Ordering::Relaxed), expected);
    for _ in 0..3 {
        let mut sent = message("a");
        assert_eq!(scene.publish(&hooks, &mut sent), Outcome::Go);
        assert_eq!(sent.topic(), "home/a");
        let mut received = message("home/a");
        hooks.deliver(&mut scene.client, &mut received).unwrap();
        assert_eq!(received.topic(), "a");
    }
    asked(2);
    assert_eq!(hooks.known_publish(&scene.client, "a"), Some(Known::As("home/a")));
    assert_eq!(hooks.known_deliver(&scene.client, "home/a"), Some(Known::As("a")));
    assert_eq!(hooks.known_deliver(&scene.client, "a"), None);
    // A no is said anew each time, and so is what has another topic with it.
    for _ in 0..2 {
        assert!(matches!(scene.publish(&hooks, &mut message("no")), Outcome::Denied(_)));
        let mut properties = mqway_codec::PropertiesBuf::new();
        properties.push(mqway_codec::Property::ResponseTopic("r")).unwrap();
        let mut publish = mqway_codec::Publish::new("b", b"");
        publish.properties = properties.as_properties();
        assert_eq!(scene.publish(&hooks, &mut Message::from_publish(&publish, "b")), Outcome::Go);
    }
    asked(4);
    // Others are asked, and the same once it has been found out anew who the client is.
    let other = Arc::new(ByTopic::default());
    let mut others = hooks.clone();
    assert!(others.known_publish(&scene.client, "a").is_some(), "a copy is no other");
    others.add_authorize(other.clone());
    assert_eq!(scene.publish(&others, &mut message("a")), Outcome::Go);
    assert_eq!(other.asked.load(Ordering::Relaxed), 1);
    asked(1);
    let connect = Connect::new(Version::V5, "c");
    assert_eq!(scene.login(&others, &mut Login::new(&connect), RefusedWill::Refuse), Outcome::Go);
    assert_eq!(scene.publish(&others, &mut message("a")), Outcome::Go);
    asked(1);
}

#[test]
fn where_one_goes_by_more_than_topics_all_are_asked_each_time() {
    let (judge, by_more) = (Arc::new(ByTopic::default()), ByTopic { by_more: true, ..ByTopic::default() });
    let mut hooks = Hooks::new();
    hooks.add_authorize(judge.clone());
    hooks.add_authorize(Arc::new(by_more));
    let mut scene = Scene::new();
    for _ in 0..2 {
        assert_eq!(scene.publish(&hooks, &mut message("a")), Outcome::Go);
        hooks.deliver(&mut scene.client, &mut message("a")).unwrap();
    }
    assert_eq!(judge.asked.load(Ordering::Relaxed), 4);
    assert_eq!(hooks.known_publish(&scene.client, "a"), None);
}

/// The same as [`Mount`], and says that it goes by topics alone.
struct MountByTopic;

impl Transform for MountByTopic {
    fn name(&self) -> &str {
        "mount"
    }
    fn by_topic(&self) -> bool {
        true
    }
    fn publish(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        Mount.publish(client, message)
    }
    fn deliver(&self, client: &mut Client, message: &mut Message<'_>) -> Result<(), Denial> {
        Mount.deliver(client, message)
    }
}

#[test]
fn an_answer_that_comes_later_goes_on_where_it_was_asked() {
    let (first, asks) = (Says::now([]), Says::later());
    let last = Says::now([no("last")]);
    let mut hooks = Hooks::new();
    for hook in [&first, &asks, &last] {
        hooks.add_authorize(hook.clone());
    }
    let mut scene = Scene::new();
    let Outcome::Wait(turn) = scene.publish(&hooks, &mut message("a")) else { panic!() };
    assert_eq!(scene.progress.awaits(), Some(turn));
    // Shown again without an answer, it waits on.
    assert_eq!(scene.publish(&hooks, &mut message("a")), Outcome::Wait(turn));
    asks.ticket().pass();
    assert!(scene.hear());
    assert_eq!(scene.publish(&hooks, &mut message("a")), Outcome::Denied(Denial::not_authorized("last")));
    assert_eq!((first.asked().len(), asks.asked().len(), last.asked().len()), (1, 1, 1));
}

#[test]
fn an_answer_out_of_its_turn_changes_nothing() {
    let asks = Says::later();
    let mut hooks = Hooks::new();
    hooks.add_authorize(asks.clone());
    let mut scene = Scene::new();
    let _ = scene.publish(&hooks, &mut message("a"));
    // Time is up, and the answer comes after that.
    let turn = scene.progress.awaits().unwrap();
    assert!(scene.progress.answered(turn, Answer::none()));
    assert!(matches!(scene.publish(&hooks, &mut message("a")), Outcome::Denied(_)));
    scene.progress.end();
    asks.ticket().allow();
    assert!(!scene.hear());
    // A ticket that is lost is no answer.
    let _ = scene.publish(&hooks, &mut message("a"));
    drop(asks.ticket());
    assert!(scene.hear());
    assert!(matches!(scene.publish(&hooks, &mut message("a")), Outcome::Denied(_)));
}

#[test]
fn filters_that_were_judged_are_not_judged_again() {
    let asks = Says::later();
    let mut hooks = Hooks::new();
    hooks.add_authorize(asks.clone());
    let mut scene = Scene::new();
    // As far as the first that waits.
    let show = |scene: &mut Scene| {
        scene.progress.begin();
        let mut outcomes = Vec::new();
        for (filter, qos) in [("a", QoS::AtMostOnce), ("b", QoS::ExactlyOnce)] {
            let options = SubscribeOptions::new(qos);
            let mut wanted = Subscription::new(TopicFilter::new(filter).unwrap(), options);
            let Scene { client, progress, answers, .. } = scene;
            let outcome = hooks.subscribe(client, &mut wanted, progress, answers);
            let waits = matches!(outcome, Outcome::Wait(_));
            outcomes.push((outcome, wanted.options().qos));
            if waits {
                break;
            }
        }
        outcomes
    };
    assert!(matches!(show(&mut scene)[..], [(Outcome::Wait(_), _)]));
    asks.ticket().allow();
    assert!(scene.hear());
    // What was granted when it was asked still holds.
    assert!(matches!(
        show(&mut scene)[..],
        [(Outcome::Go, QoS::AtMostOnce), (Outcome::Wait(_), QoS::AtLeastOnce)]
    ));
    asks.ticket().allow();
    assert!(scene.hear());
    assert_eq!(show(&mut scene), [(Outcome::Go, QoS::AtMostOnce), (Outcome::Go, QoS::AtLeastOnce)]);
    assert_eq!(asks.asked(), ["a", "b"]);
}

#[test]
fn an_answer_that_comes_later_may_grant_less() {
    let (first, second) = (Says::later(), Says::later());
    let mut hooks = Hooks::new();
    hooks.add_authorize(first.clone());
    hooks.add_authorize(second.clone());
    let mut scene = Scene::new();
    let show = |scene: &mut Scene| {
        scene.progress.begin();
        let options = SubscribeOptions::new(QoS::ExactlyOnce);
        let mut wanted = Subscription::new(TopicFilter::new("a").unwrap(), options);
        let Scene { client, progress, answers, .. } = scene;
        let outcome = hooks.subscribe(client, &mut wanted, progress, answers);
        (outcome, wanted.options().qos)
    };
    assert!(matches!(show(&mut scene), (Outcome::Wait(_), QoS::AtLeastOnce)));
    first.ticket().pass_within(QoS::AtMostOnce);
    assert!(scene.hear());
    assert!(matches!(show(&mut scene), (Outcome::Wait(_), QoS::AtMostOnce)));
    second.ticket().pass_within(QoS::ExactlyOnce);
    assert!(scene.hear());
    assert_eq!(show(&mut scene), (Outcome::Go, QoS::AtMostOnce));
}

#[test]
fn what_was_changed_of_a_login_outlives_the_wait_for_its_will() {
    let (who, may) = (Says::later(), Says::later());
    let mut hooks = Hooks::new();
    hooks.add_authenticate(who.clone());
    hooks.add_authorize(may.clone());
    hooks.add_transform(Arc::new(Mount));
    let mut connect = Connect::new(Version::V5, "device");
    connect.will = Some(Will {
        topic: "gone",
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: mqway_codec::Properties::EMPTY,
    });
    let mut scene = Scene::new();
    let mut login = Login::new(&connect);
    assert!(matches!(scene.login(&hooks, &mut login, RefusedWill::Refuse), Outcome::Wait(_)));
    who.ticket().allow_with(|client, login| {
        client.groups.push("trusted".into());
        login.client_id = "tenant-device".into();
    });
    assert!(scene.hear());
    let mut login = Login::new(&connect);
    let outcome = scene.login(&hooks, &mut login, RefusedWill::Refuse);
    assert!(matches!(outcome, Outcome::Wait(_)), "{outcome:?}");
    may.ticket().allow();
    assert!(scene.hear());
    let mut login = Login::new(&connect);
    assert_eq!(scene.login(&hooks, &mut login, RefusedWill::Refuse), Outcome::Go);
    assert_eq!(login.connect().client_id, "tenant-device");
    assert_eq!(login.will.unwrap().topic(), "home/gone");
    assert_eq!(may.asked(), ["home/gone"]);
    assert_eq!(scene.client.groups, ["trusted".into()]);
}

#[test]
fn a_will_that_is_not_allowed_is_refused_or_left_out() {
    let mut connect = Connect::new(Version::V3_1_1, "device");
    connect.will = Some(Will {
        topic: "gone",
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: mqway_codec::Properties::EMPTY,
    });
    for (refused, expected) in [
        (RefusedWill::LeaveOut, Outcome::Go),
        (RefusedWill::Refuse, Outcome::Denied(Denial::not_authorized("no wills"))),
    ] {
        let mut hooks = Hooks::new();
        hooks.add_authorize(Says::now([no("no wills")]));
        let mut login = Login::new(&connect);
        assert_eq!(Scene::new().login(&hooks, &mut login, refused), expected);
        assert!(login.will.is_none());
    }
}

#[test]
fn whom_no_hook_knows_is_let_in_only_where_anybody_is() {
    let mut hooks = Hooks::new();
    hooks.add_authenticate(Says::now([]));
    let connect = Connect::new(Version::V5, "x");
    assert_eq!(Scene::new().login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse), Outcome::Go);
    hooks.anonymous = false;
    let denied = Scene::new().login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
    assert!(matches!(denied, Outcome::Denied(Denial { reason: ReasonCode::NotAuthorized, .. })));
}

#[test]
fn a_name_that_nobody_vouches_for_is_nobody_s_where_names_are_looked_at() {
    let mut hooks = Hooks::new();
    hooks.add_authenticate(Says::now([]));
    let mut named = Connect::new(Version::V5, "x");
    named.user_name = Some("admin");
    let mut proven = Connect::new(Version::V5, "x");
    proven.password = Some(b"guessed");
    let log_in =
        |hooks: &Hooks, connect| Scene::new().login(hooks, &mut Login::new(connect), RefusedWill::Refuse);
    assert_eq!(log_in(&hooks, &named), Outcome::Go, "nobody is there to look");
    hooks.unproven_names = false;
    for connect in [&named, &proven] {
        let Outcome::Denied(denial) = log_in(&hooks, connect) else { panic!("let in") };
        assert_eq!(denial.reason, ReasonCode::BadUserNameOrPassword);
    }
    assert_eq!(log_in(&hooks, &Connect::new(Version::V5, "x")), Outcome::Go);
}

#[test]
fn a_ticket_knows_whether_anybody_waits() {
    let says = Says::later();
    let mut hooks = Hooks::new();
    hooks.add_authenticate(says.clone());
    let connect = Connect::new(Version::V5, "x");
    let is_awaited = || says.ticket().is_awaited();
    let waiting = || {
        let mut scene = Scene::new();
        let outcome = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
        assert!(matches!(outcome, Outcome::Wait(_)));
        scene
    };
    let scene = waiting();
    assert!(is_awaited());
    drop((waiting(), scene));
    assert!(!is_awaited(), "its connection has ended");
    let mut scene = waiting();
    let turn = scene.progress.awaits().unwrap();
    scene.progress.answered(turn, Answer::none());
    assert!(!is_awaited(), "its time was over");
    let mut scene = waiting();
    scene.progress.start_over();
    assert!(!is_awaited(), "others are asked now");
}

#[test]
fn a_change_that_panics_when_its_answer_has_come_is_a_no() {
    let says = Says::later();
    let mut hooks = Hooks::new();
    hooks.add_authenticate(says.clone());
    let (connect, mut scene) = (Connect::new(Version::V5, "x"), Scene::new());
    let _ = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
    says.ticket().allow_with(|_, _| panic!("on purpose"));
    assert!(scene.hear());
    let outcome = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
    assert!(matches!(outcome, Outcome::Denied(Denial { ends: true, .. })));
}

#[test]
fn a_hook_that_panics_ends_its_connection_only() {
    struct Panics;
    impl Authorize for Panics {
        fn name(&self) -> &str {
            "panics"
        }
        fn publish(&self, _: &mut Client, _: &Message<'_>, _: Later<'_>) -> Verdict {
            panic!("on purpose")
        }
    }
    impl Observe for Panics {
        fn name(&self) -> &str {
            "panics"
        }
        fn phases(&self) -> Phases {
            Phases::of(&[Phase::Stop])
        }
        fn observe(&self, _: &str, _: Option<&mut Client>, _: &Event<'_>) {
            panic!("on purpose")
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_authorize(Arc::new(Panics));
    hooks.add_observe(Arc::new(Panics));
    let Outcome::Denied(denial) = Scene::new().publish(&hooks, &mut message("a")) else { panic!() };
    assert!(denial.ends);
    assert!(hooks.observe("", None, &Event::Stop).unwrap_err().ends);
}

#[test]
fn a_phase_that_nobody_wants_is_not_asked_for() {
    let mut hooks = Hooks::new();
    assert!(hooks.is_empty() && !Phase::ALL.iter().any(|phase| hooks.wants(*phase)));
    hooks.add_authorize(Says::now([]));
    assert!(hooks.wants(Phase::Publish) && hooks.wants(Phase::Subscribe) && !hooks.wants(Phase::Deliver));
}

#[test]
fn a_method_that_panics_is_a_no() {
    struct Panics;
    impl Method for Panics {
        fn name(&self) -> &str {
            "PANICS"
        }
        fn begin(&self, _: &mut Client) -> Box<dyn Exchange> {
            Box::new(Panics)
        }
    }
    impl Exchange for Panics {
        fn take(&mut self, _: &mut Client, _: Option<&[u8]>) -> Step {
            panic!("on purpose")
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_method(Arc::new(Panics));
    let mut client = Scene::new().client;
    assert!(hooks.begin(&mut client, "OTHER").is_none());
    let mut dialogue = hooks.begin(&mut client, "PANICS").unwrap().unwrap();
    assert!(matches!(dialogue.take(&mut client, None), Step::Deny(Denial { ends: true, .. })));
}

#[test]
fn a_will_is_judged_by_the_name_that_a_hook_gave_the_client() {
    struct Renames;
    impl Authenticate for Renames {
        fn name(&self) -> &str {
            "renames"
        }
        fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, _: Later<'_>) -> Verdict {
            login.user_name = Some("renamed".into());
            Verdict::Allow
        }
    }
    impl Authorize for Renames {
        fn name(&self) -> &str {
            "renames"
        }
        fn publish(&self, client: &mut Client, _: &Message<'_>, _: Later<'_>) -> Verdict {
            assert_eq!(client.user_name.as_deref(), Some("renamed"));
            no("seen")
        }
    }
    let mut hooks = Hooks::new();
    hooks.add_authenticate(Arc::new(Renames));
    hooks.add_authorize(Arc::new(Renames));
    let mut connect = Connect::new(Version::V3_1_1, "device");
    connect.user_name = Some("sent");
    connect.will = Some(Will::new("gone", b""));
    let mut scene = Scene::new();
    scene.client.greet(&connect);
    let outcome = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
    assert_eq!(outcome, Outcome::Denied(Denial::not_authorized("seen")));
}
