//! Who comes in, whoever vouches for it.

use super::*;

/// Lets in by name, and remembers whom it was asked about.
#[derive(Default)]
struct Door {
    later: bool,
    tickets: Mutex<Vec<Ticket>>,
    asked: Mutex<Vec<String>>,
}

impl Door {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn note(&self, what: &str, client: &Client) {
        let user = client.user_name.as_deref().unwrap_or("nobody");
        self.asked.lock().unwrap().push(format!(
            "{what} {} {user} {:?}",
            client.client_id,
            client.standing()
        ));
    }
}

impl Admit for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn knock(&self, client: &mut Client) -> Result<(), Denial> {
        self.note("knock", client);
        if &*client.client_id == "bad" { Err(Denial::not_authorized("its name")) } else { Ok(()) }
    }

    fn admit(&self, client: &mut Client, later: Later<'_>) -> Verdict {
        self.note("admit", client);
        if self.later {
            let (ticket, waiting) = later.ticket();
            self.tickets.lock().unwrap().push(ticket);
            return Verdict::Later(waiting);
        }
        match client.user_name.as_deref() {
            Some("mallory") => no("it is mallory"),
            _ => Verdict::Allow,
        }
    }
}

fn door(later: bool) -> Arc<Door> {
    Arc::new(Door { later, ..Door::default() })
}

/// Finds everybody to be this user.
struct Is(&'static str);

impl Authenticate for Is {
    fn name(&self) -> &str {
        "is"
    }

    fn authenticate(&self, _: &mut Client, login: &mut Login<'_>, _: Later<'_>) -> Verdict {
        login.user_name = Some(self.0.into());
        Verdict::Allow
    }
}

fn greeted(connect: &Connect<'_>) -> Scene {
    let mut scene = Scene::new();
    scene.client.greet(connect);
    scene
}

#[test]
fn each_door_is_asked_whoever_has_said_yes_before() {
    let (first, second) = (door(false), door(false));
    let mut connect = Connect::new(Version::V5, "c");
    connect.user_name = Some("claimed");
    for (vouches, standing) in [(Some(Is("ann")), "ann Proven"), (None, "claimed Anonymous")] {
        let mut hooks = Hooks::new();
        hooks.add_admit(first.clone());
        hooks.add_admit(second.clone());
        vouches.into_iter().for_each(|hook| hooks.add_authenticate(Arc::new(hook)));
        let mut scene = greeted(&connect);
        hooks.knock(&mut scene.client).unwrap();
        let outcome = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
        assert_eq!(outcome, Outcome::Go);
        for door in [&first, &second] {
            assert_eq!(door.asked(), ["knock c claimed Claimed".to_owned(), format!("admit c {standing}")]);
        }
    }
}

#[test]
fn one_no_is_enough_and_a_method_is_no_way_around_it() {
    let mut hooks = Hooks::new();
    hooks.add_admit(door(false));
    hooks.add_authenticate(Arc::new(Is("mallory")));
    let connect = Connect::new(Version::V5, "c");
    let no = Outcome::Denied(Denial::not_authorized("it is mallory"));
    assert_eq!(greeted(&connect).login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse), no);

    // Whoever has shown it by a method is not asked for a password.
    for (user, outcome) in [("mallory", no), ("ann", Outcome::Go)] {
        let mut scene = greeted(&connect);
        scene.client.user_name = Some(user.into());
        let Scene { client, progress, answers, .. } = &mut scene;
        let mut login = Login::new(&connect);
        let judged = hooks.login_authenticated(client, &mut login, progress, answers, RefusedWill::Refuse);
        assert_eq!((judged, client.standing()), (outcome, Standing::Proven));
    }
    assert!(hooks.knock(&mut greeted(&Connect::new(Version::V5, "bad")).client).is_err());
}

#[test]
fn a_yes_that_comes_later_does_not_speak_for_the_other_doors() {
    for unanswered in [Unanswered::Allow, Unanswered::Pass] {
        let (slow, quick) = (door(true), door(false));
        let mut hooks = Hooks::new();
        hooks.unanswered = unanswered;
        hooks.add_admit(slow.clone());
        hooks.add_admit(quick.clone());
        hooks.add_authenticate(Arc::new(Is("mallory")));
        let connect = Connect::new(Version::V5, "c");
        for answers in [true, false] {
            let mut scene = greeted(&connect);
            let outcome = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
            assert!(matches!(outcome, Outcome::Wait(_)), "{outcome:?}");
            assert!(quick.asked().is_empty());
            let ticket = slow.tickets.lock().unwrap().pop().unwrap();
            if answers {
                ticket.allow()
            } else {
                drop(ticket)
            }
            assert!(scene.hear());
            let outcome = scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse);
            assert_eq!(outcome, Outcome::Denied(Denial::not_authorized("it is mallory")));
            assert_eq!(quick.asked(), ["admit c mallory Proven"]);
        }
    }
}

#[test]
fn a_name_that_nobody_has_checked_counts_only_where_nobody_checks_any() {
    let introduced = |hooks: &Hooks| {
        let mut client = Scene::new().client;
        client.introduce(Version::V3_1_1, "c", Some("ann"));
        client.meet(hooks);
        client.user_name.is_some()
    };
    let mut hooks = Hooks::new();
    hooks.add_admit(door(false));
    hooks.add_authorize(Says::now([]));
    assert!(introduced(&hooks));
    hooks.add_authenticate(Arc::new(Is("bob")));
    assert!(!introduced(&hooks));

    let connect = Connect::new(Version::V5, "c");
    let mut scene = greeted(&connect);
    assert_eq!(scene.login(&hooks, &mut Login::new(&connect), RefusedWill::Refuse), Outcome::Go);
    scene.client.meet(&hooks);
    assert_eq!(scene.client.user_name.as_deref(), Some("bob"), "it was found to be him");
}

/// Remembers who was refused.
#[derive(Default)]
struct Watch(Mutex<Vec<(ReasonCode, bool)>>);

impl Observe for Watch {
    fn name(&self) -> &str {
        "watch"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Refused])
    }

    fn observe(&self, _: &str, client: Option<&mut Client>, event: &Event<'_>) {
        let Event::Refused { reason, failed, .. } = event else { panic!("{event:?}") };
        assert!(client.is_some());
        self.0.lock().unwrap().push((*reason, *failed));
    }
}

#[test]
fn observers_are_told_who_failed_to_show_who_it_is() {
    struct Gate;
    impl Accept for Gate {
        fn name(&self) -> &str {
            "gate"
        }
        fn accept(&self, _: &str, _: &Facts) -> Result<(), Denial> {
            Err(Denial::new(ReasonCode::BadUserNameOrPassword, "a bad token"))
        }
    }
    let watch = Arc::new(Watch::default());
    let mut hooks = Hooks::new();
    hooks.add_accept(Arc::new(Gate));
    hooks.add_observe(watch.clone());
    assert!(hooks.accept("ws://", &Facts::default()).is_err());
    let mut client = greeted(&Connect::new(Version::V5, "c")).client;
    hooks.refused(&mut client, ReasonCode::NotAuthorized, "");
    hooks.refused(&mut client, ReasonCode::ServerBusy, "");
    // By now it is known who it is; what is refused then is something else.
    client.introduce(Version::V5, "c", None);
    hooks.refused(&mut client, ReasonCode::NotAuthorized, "");
    hooks.refused_behind(&mut client, ReasonCode::NotAuthorized, "");
    let failed = watch.0.lock().unwrap().iter().map(|(_, failed)| *failed).collect::<Vec<_>>();
    assert_eq!(failed, [true, true, false, false, true]);
}
