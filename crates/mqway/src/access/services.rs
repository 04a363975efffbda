//! From `[web_service]` and `[webhooks]` to hooks: web services that decide, and that are told what happens.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqway_access::hook::{EventName, Granted, Kind, WebService, Webhooks};
use mqway_access::http::{Service, ServiceSettings, WhenDown};
use mqway_access::token::{Token, TokenSource};
use mqway_access::web::Reach;
use mqway_access::webhook::{Target, Webhook, WebhookSettings};
use mqway_codec::TopicFilter;
use mqway_hooks::Hooks;
use serde_json::{Map, Value};

use super::{read, tokens};
use crate::failure::Failure;
use crate::quantity::{Bytes, Seconds};
use crate::settings::{self, Settings};

/// The names of the sections, and of the counters.
const WEB_SERVICE: &str = "web_service";
const WEBHOOKS: &str = "webhooks";

/// How long a server waits for the answer of a hook, if nothing else is said.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that may ask a web service.
const MOST_PARALLEL: usize = 1_000;

/// The web services of a server, and what of them goes on when its settings are read again.
#[derive(Default)]
pub struct Services {
    service: Option<Arc<Service>>,
    webhook: Option<Arc<Webhook>>,
    /// Where events that wait already go once these settings count.
    aim: Cell<Option<Target>>,
}

impl Services {
    /// Adds the hooks. `before` is what was there until now, if anything.
    ///
    /// # Errors
    /// One line about the first setting or file that cannot be used.
    pub fn add(
        settings: &Settings,
        before: Option<&Services>,
        hooks: &mut Hooks,
    ) -> Result<Services, Failure> {
        let mut services = Services::default();
        services.add_service(settings, before, hooks)?;
        services.add_webhooks(&settings.webhooks, before, hooks)?;
        Ok(services)
    }

    /// The server runs with these settings.
    pub fn started(&self) {
        if let (Some(webhook), Some(target)) = (&self.webhook, self.aim.take()) {
            webhook.aim(target);
        }
    }

    /// The server has stopped: sends the last events, no longer than until then.
    pub fn finish(&self, until: Instant) {
        if let Some(webhook) = &self.webhook {
            webhook.finish(until);
        }
    }

    /// What is counted, by the names of the sections.
    pub fn counters(&self) -> impl Iterator<Item = (String, Value)> {
        let service = self.service.as_ref().map(|service| (WEB_SERVICE, numbers(service.counters().each())));
        let webhook = self.webhook.as_ref().map(|webhook| (WEBHOOKS, numbers(webhook.counters().each())));
        service.into_iter().chain(webhook).map(|(name, counts)| (name.to_owned(), counts))
    }

    fn add_service(
        &mut self,
        settings: &Settings,
        before: Option<&Services>,
        hooks: &mut Hooks,
    ) -> Result<(), Failure> {
        let of = &settings.web_service;
        let Some(url) = &of.url else { return nothing_else(WEB_SERVICE, *of == Default::default()) };
        let kinds = kinds(of)?;
        let asked = service_settings(url, settings)?;
        let started = match before.and_then(|before| before.service.as_ref()) {
            Some(before) => Service::start_after(before, asked),
            None => Service::start(asked),
        };
        let service = Arc::new(started.map_err(|error| wrong(WEB_SERVICE, error))?);
        self.service = Some(service.clone());
        let mut hook = WebService::new(service).asks(&kinds);
        if let Some(sources) = &of.token_sources {
            hook = hook.tokens_from(token_sources(sources)?);
        }
        let hook = Arc::new(hook);
        if kinds.contains(&Kind::Connect) {
            hooks.add_authenticate(hook.clone());
            if !tokens::grant(&settings.jwt) {
                hooks.add_authorize(Arc::new(Granted));
            }
        }
        if kinds.contains(&Kind::Publish) || kinds.contains(&Kind::Subscribe) {
            hooks.add_authorize(hook);
        }
        Ok(())
    }

    fn add_webhooks(
        &mut self,
        of: &settings::Webhooks,
        before: Option<&Services>,
        hooks: &mut Hooks,
    ) -> Result<(), Failure> {
        let Some(url) = &of.url else { return nothing_else(WEBHOOKS, *of == Default::default()) };
        let events = match &of.events {
            Some(names) => parsed::<EventName>(WEBHOOKS, "events", names)?,
            None => EventName::usual(),
        };
        let target = Target::new(webhook_settings(url, of)?).map_err(|error| wrong(WEBHOOKS, error))?;
        let webhook = match before.and_then(|before| before.webhook.as_ref()) {
            Some(before) => {
                self.aim.set(Some(target));
                before.clone()
            }
            None => Arc::new(Webhook::start(target).map_err(|error| wrong(WEBHOOKS, error))?),
        };
        self.webhook = Some(webhook.clone());
        let mut hook = Webhooks::new(webhook, &events);
        if let Some(filters) = &of.topics {
            hook = hook.only_topics(topics(filters)?);
        }
        if let Some(most) = of.max_payload {
            hook = hook.payloads_to(most.to_usize());
        }
        hooks.add_observe(Arc::new(hook));
        Ok(())
    }
}

/// Whether a web service is asked who a client is.
pub fn authenticate(settings: &Settings) -> bool {
    let of = &settings.web_service;
    let connect = |list: &Vec<String>| list.iter().any(|question| question == "connect");
    of.url.is_some() && of.questions.as_ref().is_none_or(connect)
}

/// Whether cookies authenticate, so that pages of other origins must be kept out.
pub fn come_in_cookies(settings: &Settings) -> bool {
    let sources = settings.web_service.token_sources.iter().flatten();
    authenticate(settings) && sources.into_iter().any(|source| source.starts_with("cookie:"))
}

fn kinds(of: &settings::WebService) -> Result<Vec<Kind>, Failure> {
    match &of.questions {
        None => Ok(Kind::ALL.to_vec()),
        Some(list) if list.is_empty() => {
            Err(wrong(WEB_SERVICE, "questions is empty; name some of connect, publish and subscribe"))
        }
        Some(list) => parsed(WEB_SERVICE, "questions", list),
    }
}

/// What stands in CONNECT is sent anyway.
fn token_sources(texts: &[String]) -> Result<Vec<TokenSource>, Failure> {
    let sources = parsed::<TokenSource>(WEB_SERVICE, "token_sources", texts)?;
    match sources.iter().position(|source| !source.is_of_upgrade()) {
        Some(at) => Err(wrong(
            WEB_SERVICE,
            format_args!("token_sources: user name and password are sent anyway; leave {:?} out", texts[at]),
        )),
        None => Ok(sources),
    }
}

fn service_settings(url: &str, settings: &Settings) -> Result<ServiceSettings, Failure> {
    let of = &settings.web_service;
    let mut asked = ServiceSettings::new(url);
    set(&mut asked.when_down, of.when_down);
    set_time(&mut asked.cache_allow, of.cache_allow);
    set_time(&mut asked.cache_deny, of.cache_deny);
    set_time(&mut asked.cache_longest, of.cache_longest);
    set(&mut asked.cache_bytes, of.max_cache.map(Bytes::to_usize));
    set(&mut asked.threads, of.max_parallel.map(NonZeroUsize::get));
    set(&mut asked.max_waiting, of.max_waiting.map(NonZeroUsize::get));
    set(&mut asked.max_waiting_bytes, of.max_waiting_bytes.map(Bytes::to_usize));
    if asked.threads > MOST_PARALLEL {
        return Err(wrong(WEB_SERVICE, format_args!("max_parallel can be {MOST_PARALLEL} at the most")));
    }
    let way = Way { timeout: of.timeout, headers: &of.headers, file: &of.headers_file, ca: &of.cafile };
    asked.reach = way.reach(WEB_SERVICE, asked.reach)?;
    let answer_timeout = settings.access.answer_timeout.map_or(ANSWER_TIMEOUT, |time| time.0);
    if asked.reach.timeout >= answer_timeout {
        return Err(wrong(
            WEB_SERVICE,
            format_args!(
                "timeout is {} s, but the server waits for answers for {} s; lower it, or raise answer_timeout of [access]",
                asked.reach.timeout.as_secs_f64(),
                answer_timeout.as_secs_f64()
            ),
        ));
    }
    if asked.when_down == WhenDown::Allow {
        log::warn!("[web_service] allows everything as long as there is no answer, by when_down");
    }
    Ok(asked)
}

fn webhook_settings(url: &str, of: &settings::Webhooks) -> Result<WebhookSettings, Failure> {
    let mut sent = WebhookSettings::new(url);
    set(&mut sent.batch, of.batch.map(NonZeroUsize::get));
    set_time(&mut sent.linger, of.linger);
    set(&mut sent.max_waiting, of.max_waiting.map(NonZeroUsize::get));
    set(&mut sent.max_waiting_bytes, of.max_waiting_bytes.map(Bytes::to_usize));
    set_time(&mut sent.longest_pause, of.longest_pause);
    set_time(&mut sent.give_up, of.give_up);
    if sent.longest_pause.is_zero() {
        return Err(wrong(WEBHOOKS, "longest_pause is 0, so that a service that fails would get no rest"));
    }
    let way = Way { timeout: of.timeout, headers: &of.headers, file: &of.headers_file, ca: &of.cafile };
    sent.reach = way.reach(WEBHOOKS, sent.reach)?;
    Ok(sent)
}

/// How a web service is reached, as its section says.
struct Way<'a> {
    timeout: Option<Seconds>,
    headers: &'a Option<Vec<String>>,
    file: &'a Option<PathBuf>,
    ca: &'a Option<PathBuf>,
}

impl Way<'_> {
    fn reach(&self, section: &str, mut reach: Reach) -> Result<Reach, Failure> {
        set_time(&mut reach.timeout, self.timeout);
        if reach.timeout.is_zero() {
            return Err(wrong(section, "timeout is 0, which leaves no time for an answer"));
        }
        for header in self.headers.iter().flatten() {
            let one = field(header);
            reach.headers.push(one.ok_or_else(|| wrong(section, format_args!("headers: {NO_FIELD}")))?);
        }
        if let Some(path) = self.file {
            fields(path, &mut reach.headers)?;
        }
        if let Some(path) = self.ca {
            if reach.url.starts_with("http://") {
                return Err(wrong(
                    section,
                    "cafile is of no use with http; take an https URL, or leave it out",
                ));
            }
            reach.ca = Some(read(path)?);
        }
        Ok(reach)
    }
}

const NO_FIELD: &str = "a header field has no colon; write it as 'Name: value'";

/// Those of a file, a line each. Empty lines, and those that begin with `#`, count for nothing.
fn fields(path: &Path, headers: &mut Vec<(String, Token)>) -> Result<(), Failure> {
    let place = path.display();
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Failure::usage(format_args!("{place} is not UTF-8, as header fields are")))?;
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if !line.is_empty() && !line.starts_with('#') {
            let one = field(line);
            headers
                .push(one.ok_or_else(|| Failure::usage(format_args!("{place}: line {number}: {NO_FIELD}")))?);
        }
    }
    Ok(())
}

fn field(text: &str) -> Option<(String, Token)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().to_owned(), Token::new(value.trim())))
}

fn topics(filters: &[String]) -> Result<Vec<String>, Failure> {
    let bad = filters.iter().find(|filter| TopicFilter::new(filter).is_err());
    match bad {
        Some(bad) => Err(wrong(WEBHOOKS, format_args!("topics: {bad:?} is no topic filter"))),
        None => Ok(filters.to_vec()),
    }
}

fn parsed<T: FromStr<Err = String>>(section: &str, key: &str, texts: &[String]) -> Result<Vec<T>, Failure> {
    let one = |text: &String| text.parse().map_err(|error| wrong(section, format_args!("{key}: {error}")));
    texts.iter().map(one).collect()
}

/// A section without a URL must be without anything.
fn nothing_else(section: &str, empty: bool) -> Result<(), Failure> {
    if empty {
        Ok(())
    } else {
        Err(wrong(section, "there is no url; say where the service is, or leave the section out"))
    }
}

fn wrong(section: &str, what: impl std::fmt::Display) -> Failure {
    Failure::usage(format_args!("[{section}] {what}"))
}

fn set<T>(default: &mut T, setting: Option<T>) {
    if let Some(setting) = setting {
        *default = setting;
    }
}

fn set_time(default: &mut Duration, setting: Option<Seconds>) {
    set(default, setting.map(|time| time.0));
}

fn numbers(counters: impl Iterator<Item = (&'static str, u64)>) -> Value {
    counters.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use mqway_access::http::ServiceCounters;
    use mqway_access::webhook::WebhookCounters;

    use super::*;

    fn told(text: &str) -> String {
        let settings: Settings = toml::from_str(text).unwrap();
        let added = Services::add(&settings, None, &mut Hooks::new());
        added.map(drop).map_err(|failure| failure.message).err().unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_meant_is_told_in_a_line() {
        for (text, expected) in [
            ("[web_service]\ntimeout = 1", "[web_service] there is no url"),
            ("[webhooks]\nbatch = 1", "[webhooks] there is no url"),
            (
                "[web_service]\nurl = 'ftp://h'",
                "[web_service] ftp://h: a web service has an http or https URL",
            ),
            (
                "[web_service]\nurl = 'http://h'\nquestions = ['read']",
                "questions: \"read\" is no question; they are",
            ),
            ("[web_service]\nurl = 'http://h'\nquestions = []", "questions is empty"),
            (
                "[web_service]\nurl = 'http://h'\ntimeout = 5",
                "timeout is 5 s, but the server waits for answers for 5 s",
            ),
            ("[web_service]\nurl = 'http://h'\ntimeout = 0", "timeout is 0"),
            ("[web_service]\nurl = 'http://h'\nmax_parallel = 1001", "max_parallel can be 1000 at the most"),
            ("[web_service]\nurl = 'http://h'\ncafile = '/no'", "cafile is of no use with http"),
            ("[web_service]\nurl = 'https://h'\ncafile = '/no'", "cannot read /no"),
            ("[web_service]\nurl = 'http://h'\nheaders = ['secret']", "headers: a header field has no colon"),
            ("[web_service]\nurl = 'http://h'\nheaders = ['a b: secret']", "\"a b\" is no header field"),
            ("[web_service]\nurl = 'http://h'\nheaders_file = '/no'", "cannot read /no"),
            (
                "[web_service]\nurl = 'http://h'\ntoken_sources = ['here']",
                "token_sources: \"here\" is no place",
            ),
            (
                "[webhooks]\nurl = 'http://h'\nevents = ['connect']",
                "events: \"connect\" is no event; they are",
            ),
            ("[webhooks]\nurl = 'http://h'\ntopics = ['a/#/b']", "topics: \"a/#/b\" is no topic filter"),
            ("[webhooks]\nurl = 'http://h'\nlongest_pause = 0", "longest_pause is 0"),
        ] {
            let told = told(text);
            assert!(told.contains(expected) && !told.contains("secret"), "{text}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
        let good = "[access]\nanswer_timeout = 8\n[web_service]\nurl = 'http://127.0.0.1:1/x'\ntimeout = 7";
        assert_eq!(told(good), "");
    }

    #[test]
    fn every_counter_is_explained_in_the_paper_on_limits() {
        let paper = include_str!("../../../../LIMITS.md");
        let service = ServiceCounters::default().each().map(|(name, _)| format!("{WEB_SERVICE}.{name}"));
        let webhooks = WebhookCounters::default().each().map(|(name, _)| format!("{WEBHOOKS}.{name}"));
        for name in service.chain(webhooks) {
            assert!(paper.contains(&format!("`{name}`")), "LIMITS.md does not explain {name}");
        }
    }
}
