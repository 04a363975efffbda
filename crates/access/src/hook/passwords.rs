use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqway_codec::ReasonCode;
use mqway_hooks::{Allowance, Authenticate, Client, Denial, Later, Login, Verdict};

use crate::password::{Checked, PasswordFile, Randomness, Recent};
use crate::pool::Pool;

/// Passwords that were right lately and are known again at once.
const RECENT: usize = 100_000;

/// For how long they are.
const RECENT_TIME: Duration = Duration::from_secs(600);

/// Bytes of names and passwords that wait to be checked.
const MOST_WAITING: usize = 64 * 1024 * 1024;

/// Authenticates by user name and password, from a [`PasswordFile`].
///
/// A client without a user name is none of its business. Where a WebSocket client has none in its CONNECT, those of
/// `Authorization: Basic` in its upgrade request count.
pub struct Passwords {
    file: Arc<PasswordFile>,
    recent: Arc<Recent>,
    pool: Arc<Pool>,
    /// Bytes that wait.
    waiting: Allowance,
    began: Instant,
    /// Users that are not in the file are left to the hooks behind.
    pass_unknown: bool,
}

impl Passwords {
    /// By this file; hashes are compared on the threads of `pool`.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(file: PasswordFile, pool: Arc<Pool>) -> Result<Passwords, Randomness> {
        let recent = Arc::new(Recent::new(RECENT, RECENT_TIME)?);
        let (waiting, began) = (Allowance::new(MOST_WAITING), Instant::now());
        Ok(Passwords { file: Arc::new(file), recent, pool, waiting, began, pass_unknown: false })
    }

    /// Leaves users that are not in the file to the hooks behind, instead of refusing them.
    #[must_use]
    pub fn pass_unknown(mut self) -> Passwords {
        self.pass_unknown = true;
        self
    }

    /// Takes over what another remembers of passwords that were right: when the file is read again, clients whose lines
    /// are the same are not checked at full length.
    #[must_use]
    pub fn after(mut self, before: &Passwords) -> Passwords {
        self.recent = before.recent.clone();
        self.waiting = before.waiting.clone();
        self.began = before.began;
        self
    }
}

impl Authenticate for Passwords {
    fn name(&self) -> &str {
        "password"
    }

    fn authenticate(&self, client: &mut Client, login: &mut Login<'_>, later: Later<'_>) -> Verdict {
        let Some((user, password)) = credentials(client, login) else { return Verdict::Pass };
        if self.recent.knows(&self.file, &user, &password, self.began.elapsed()) {
            client.user_name = Some(user.into());
            return Verdict::Allow;
        }
        let Some(held) = self.waiting.take(user.len() + password.len()) else { return too_many() };
        let (file, recent) = (self.file.clone(), self.recent.clone());
        let (began, pass_unknown) = (self.began, self.pass_unknown);
        let (ticket, waiting) = later.ticket();
        let job = move || {
            let _held = held;
            // A crowd that has left, or whose time is over, must not keep others waiting.
            if !ticket.is_awaited() {
                return;
            }
            match recent.check(&file, &user, &password, began.elapsed()) {
                Checked::Right => ticket.allow_with(move |client, _| client.user_name = Some(user.into())),
                Checked::UnknownUser if pass_unknown => ticket.pass(),
                Checked::UnknownUser => ticket.deny(wrong("password: no such user")),
                Checked::WrongPassword => ticket.deny(wrong("password: another one")),
            }
        };
        match self.pool.submit(Box::new(job)) {
            Ok(()) => Verdict::Later(waiting),
            // With the job its ticket is lost, whose turn nobody has begun to wait for.
            Err(_) => too_many(),
        }
    }
}

fn too_many() -> Verdict {
    Verdict::Deny(Denial::new(ReasonCode::ServerBusy, "password: too many are being checked"))
}

/// What the client hears is the same for both.
fn wrong(rule: &'static str) -> Denial {
    Denial::new(ReasonCode::BadUserNameOrPassword, rule)
}

/// User name and password: of CONNECT, or else of the upgrade request.
fn credentials(client: &Client, login: &Login<'_>) -> Option<(String, Vec<u8>)> {
    match &login.user_name {
        Some(user) => {
            let password = login.password.as_deref().unwrap_or_default();
            Some((user.to_string(), password.to_vec()))
        }
        None => basic(client),
    }
}

/// User name and password of the upgrade request. RFC 7617
pub(super) fn basic(client: &Client) -> Option<(String, Vec<u8>)> {
    let headers = &client.facts.http.as_ref()?.headers;
    let (_, field) = headers.iter().find(|(name, _)| name == "authorization")?;
    let (scheme, encoded) = str::from_utf8(field).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = STANDARD.decode(encoded.trim()).ok()?;
    let colon = text.iter().position(|&byte| byte == b':')?;
    let user = str::from_utf8(&text[..colon]).ok()?;
    Some((user.to_owned(), text[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Connect, Version};
    use mqway_hooks::{Hooks, Rehearsal};
    use mqway_transport::facts::HttpFacts;

    use super::*;

    /// With one user, `ann`, whose password is `secret`.
    fn hooks(pass_unknown: bool, pool: Arc<Pool>) -> Hooks {
        let hash = crate::password::PasswordHash::new(b"secret").unwrap();
        let line = format!("ann:{hash}\n");
        let file = PasswordFile::parse(line.as_bytes()).unwrap();
        let mut passwords = Passwords::new(file, pool).unwrap();
        if pass_unknown {
            passwords = passwords.pass_unknown();
        }
        let mut hooks = Hooks::new();
        hooks.add_authenticate(Arc::new(passwords));
        hooks.anonymous = false;
        hooks
    }

    fn connect<'a>(user: Option<&'a str>, password: Option<&'a [u8]>) -> Connect<'a> {
        let mut connect = Connect::new(Version::V5, "c");
        (connect.user_name, connect.password) = (user, password);
        connect
    }

    #[test]
    fn the_right_password_lets_in_and_is_known_again() {
        let pool = Arc::new(Pool::start("test", 1, 4).unwrap());
        let mut rehearsal = Rehearsal::new(hooks(false, pool));
        for _ in 0..2 {
            rehearsal.login(&connect(Some("ann"), Some(b"secret"))).unwrap();
            assert_eq!(rehearsal.client.user_name.as_deref(), Some("ann"));
        }
        for wrong in [
            connect(Some("ann"), Some(b"Secret")),
            connect(Some("ann"), None),
            connect(Some("bob"), Some(b"secret")),
        ] {
            let denial = rehearsal.login(&wrong).unwrap_err();
            assert_eq!(denial.reason, ReasonCode::BadUserNameOrPassword);
        }
        assert_eq!(rehearsal.login(&connect(None, None)).unwrap_err().reason, ReasonCode::NotAuthorized);
    }

    /// Nobody who would hear an answer.
    struct Nowhere;

    impl mqway_hooks::Answers for Nowhere {
        fn answer(&self, _: u64, _: u32, _: mqway_hooks::Answer) {}
    }

    #[test]
    fn a_crowd_that_has_left_keeps_nobody_waiting() {
        let pool = Arc::new(Pool::start("test", 1, 10_000).unwrap());
        let hooks = hooks(false, pool);
        let answers: Arc<dyn mqway_hooks::Answers> = Arc::new(Nowhere);
        let crowd = connect(Some("bob"), Some(b"x"));
        for number in 0..5_000 {
            let mut client = Client::new(number, "mqtt://:1883".into(), Default::default());
            let (mut login, mut progress) = (Login::new(&crowd), mqway_hooks::Progress::default());
            let refused = mqway_hooks::RefusedWill::Refuse;
            let outcome = hooks.login(&mut client, &mut login, &mut progress, &answers, refused);
            assert!(matches!(outcome, mqway_hooks::Outcome::Wait(_)));
        }
        // A rehearsal waits for a minute; to check all of them takes minutes.
        Rehearsal::new(hooks).login(&connect(Some("ann"), Some(b"secret"))).unwrap();
    }

    #[test]
    fn unknown_users_may_be_left_to_others() {
        let pool = Arc::new(Pool::start("test", 1, 4).unwrap());
        let mut hooks = hooks(true, pool);
        hooks.anonymous = true;
        let mut rehearsal = Rehearsal::new(hooks);
        rehearsal.login(&connect(Some("bob"), Some(b"x"))).unwrap();
        rehearsal.login(&connect(Some("ann"), Some(b"x"))).unwrap_err();
    }

    #[test]
    fn a_browser_s_credentials_count_where_connect_has_none() {
        let pool = Arc::new(Pool::start("test", 1, 4).unwrap());
        let mut rehearsal = Rehearsal::new(hooks(false, pool));
        let field = format!("basic {}", STANDARD.encode("ann:secret"));
        let headers = vec![("authorization".to_owned(), field.into_bytes())];
        rehearsal.client.facts.http = Some(HttpFacts { headers, ..HttpFacts::default() });
        rehearsal.login(&connect(None, None)).unwrap();
        rehearsal.login(&connect(Some("ann"), Some(b"other"))).unwrap_err();
    }
}
