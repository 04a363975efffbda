//! From settings to hooks: who may connect to a server, and what each may do.

mod bans;
mod rates;
mod services;
mod tokens;
mod topics;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mqway_access::acl::Acl;
use mqway_access::hook::{Banned, Certificates, Passwords, Permissions, Rated, Scram};
use mqway_access::jwks::Jwks;
use mqway_access::password::PasswordFile;
use mqway_access::pool::Pool;
use mqway_access::scram::{Decoy, ScramUsers};
use mqway_hooks::{Hooks, Plugin, Refusals, RefusedPublish, RefusedWill, Server, Setup, Unanswered};

use crate::Maker;
use crate::failure::Failure;
use crate::settings::{self, Access, Settings};
use services::Services;

/// Passwords that may wait to be checked.
const WAITING: usize = 10_000;

/// Bytes of a file that settings name: what the longest of them, a password file, may have.
const MAX_FILE: u64 = mqway_access::password::MAX_FILE as u64;

/// The hooks of a server, and what of them goes on when its settings are read again.
#[derive(Default)]
pub struct Guards {
    /// In the order in which they are asked.
    pub hooks: Hooks,
    plugins: Vec<Arc<dyn Plugin>>,
    pool: Option<Arc<Pool>>,
    passwords: Option<Arc<Passwords>>,
    jwks: Option<Arc<Jwks>>,
    /// Topics are rewritten, or were for connections that may still be there.
    topics: bool,
    services: Services,
    banned: Option<Arc<Banned>>,
    rated: Option<Arc<Rated>>,
}

impl Guards {
    /// Reads what the settings name. `before` is what was there until now, if anything.
    ///
    /// # Errors
    /// One line about the first file that cannot be used.
    pub fn of(settings: &Settings, makers: &[Maker], before: Option<&Guards>) -> Result<Guards, Failure> {
        let access = &settings.access;
        let mut guards = Guards { hooks: Hooks::new(), ..Guards::default() };
        bans::add(settings, before, &mut guards)?;
        rates::add(settings, before, &mut guards)?;
        if let Some(naming) = access.certificate_user {
            guards.hooks.add_authenticate(Arc::new(Certificates::new(naming)));
        }
        let by_service = services::authenticate(settings);
        let others_too = access.password_file.is_some() || by_service;
        let tokens = tokens::add(&settings.jwt, others_too, before, &mut guards)?;
        if let Some(path) = &access.scram_file {
            guards.hooks.add_method(Arc::new(Scram::new(scram_users(path)?)));
        }
        if let Some(path) = &access.password_file {
            guards.add_passwords(path, by_service, before)?;
        }
        if let Some(path) = &access.acl_file {
            guards.hooks.add_authorize(Arc::new(Permissions::new(rules(path)?)));
        }
        let services_before = before.map(|before| &before.services);
        guards.services = Services::add(settings, services_before, &mut guards.hooks)?;
        let before = before.is_some_and(|before| before.topics);
        guards.topics = topics::add(&settings.topics, before, &mut guards.hooks)?;
        guards.load_plugins(&settings.plugins, makers)?;
        guards.hooks.anonymous = access.allow_anonymous.unwrap_or(!asks_who(settings));
        guards.hooks.unproven_names = !asks_who(settings);
        if let Some(tokens) = tokens {
            tokens::guard_upgrades(&settings.jwt, &tokens, &mut guards.hooks);
        }
        guards.hooks.unanswered = match access.unanswered {
            None | Some(settings::Unanswered::Deny) => Unanswered::Deny,
            Some(settings::Unanswered::Pass) => Unanswered::Pass,
            Some(settings::Unanswered::Allow) => Unanswered::Allow,
        };
        Ok(guards)
    }

    /// The server stops, or has others now.
    pub fn unload(&self) {
        for plugin in &self.plugins {
            plugin.unload();
        }
    }

    /// The server runs with these hooks: its plugins may act on it now.
    pub fn started(&self, server: &Arc<dyn Server>) {
        self.services.started();
        for plugin in &self.plugins {
            plugin.started(server.clone());
        }
    }

    /// The server has stopped: whoever has something left to say or do does it, no longer than until then.
    pub fn finish(&self, until: Instant) {
        self.services.finish(until);
        self.unload();
    }

    /// What is counted beside the server's own counters, by who counts it.
    pub fn counters(&self) -> impl Iterator<Item = (String, serde_json::Value)> {
        let of_plugin = |plugin: &Arc<dyn Plugin>| {
            let counts: serde_json::Map<_, _> =
                plugin.metrics().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
            (plugin.name().to_owned(), serde_json::Value::Object(counts))
        };
        let plugins = (!self.plugins.is_empty()).then(|| {
            let all: serde_json::Map<_, _> = self.plugins.iter().map(of_plugin).collect();
            ("plugins".to_owned(), serde_json::Value::Object(all))
        });
        self.services.counters().chain(plugins)
    }

    fn load_plugins(
        &mut self,
        tables: &BTreeMap<String, toml::Table>,
        makers: &[Maker],
    ) -> Result<(), Failure> {
        let made: Vec<_> = makers.iter().map(|make| make()).collect();
        if let Some(unknown) = tables.keys().find(|name| !made.iter().any(|plugin| plugin.name() == **name)) {
            return Err(Failure::usage(no_such_plugin(unknown, &made)));
        }
        for plugin in made {
            let Some(table) = tables.get(plugin.name()) else { continue };
            let text = table.to_string();
            let mut setup = Setup::new(&text, &mut self.hooks);
            plugin
                .load(&mut setup)
                .map_err(|error| Failure::usage(format_args!("[plugins.{}]: {error}", plugin.name())))?;
            self.plugins.push(plugin);
        }
        Ok(())
    }

    /// `pass_unknown`: somebody behind may know users that are not in the file.
    fn add_passwords(
        &mut self,
        path: &Path,
        pass_unknown: bool,
        before: Option<&Guards>,
    ) -> Result<(), Failure> {
        let text = read(path)?;
        let unusable = |error| Failure::usage(format_args!("{}: {error}", path.display()));
        let file = PasswordFile::parse(&text).map_err(|error| unusable(error.to_string()))?;
        for problem in file.problems() {
            log::warn!("{}: {problem}", path.display());
        }
        let pool = self.pool(before)?;
        let mut passwords = Passwords::new(file, pool).map_err(|error| Failure::other(error.to_string()))?;
        if let Some(before) = before.and_then(|before| before.passwords.as_ref()) {
            passwords = passwords.after(before);
        }
        if pass_unknown {
            passwords = passwords.pass_unknown();
        }
        let passwords = Arc::new(passwords);
        self.hooks.add_authenticate(passwords.clone());
        self.passwords = Some(passwords);
        Ok(())
    }

    /// The threads for what takes its time: half of the cores, so that the other half goes on serving.
    fn pool(&mut self, before: Option<&Guards>) -> Result<Arc<Pool>, Failure> {
        let known = self.pool.clone().or_else(|| before.and_then(|before| before.pool.clone()));
        if let Some(pool) = known {
            return Ok(self.pool.insert(pool).clone());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Pool::start("passwords", (cores / 2).max(1), WAITING)
            .map_err(|error| Failure::other(format_args!("cannot start a thread: {error}")))?;
        Ok(self.pool.insert(Arc::new(pool)).clone())
    }
}

fn no_such_plugin(name: &str, there_are: &[Arc<dyn Plugin>]) -> String {
    let names: Vec<_> = there_are.iter().map(|plugin| plugin.name()).collect();
    match names.as_slice() {
        [] => format!("[plugins.{name}]: this program has no plugins; leave the section out"),
        names => format!("[plugins.{name}]: there is no such plugin; there are {}", names.join(", ")),
    }
}

/// Whether anything asks clients who they are.
pub fn asks_who(settings: &Settings) -> bool {
    let Access { password_file, scram_file, certificate_user, .. } = &settings.access;
    let others = scram_file.is_some() || certificate_user.is_some() || services::authenticate(settings);
    password_file.is_some() || others || tokens::are_asked_for(&settings.jwt)
}

/// Whether pages of other origins must be kept out where a listener says nothing of origins.
pub fn comes_in_cookies(settings: &Settings) -> bool {
    tokens::come_in_cookies(&settings.jwt) || services::come_in_cookies(settings)
}

/// Users who authenticate by SCRAM. Salts for users that there are not come from a key of this process.
fn scram_users(path: &Path) -> Result<ScramUsers, Failure> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Failure::usage(format_args!("{} is not UTF-8", path.display())))?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Failure::other(format_args!("no random numbers: {error}")))?;
    ScramUsers::parse(&text, Decoy(key))
        .map_err(|(line, why)| Failure::usage(format_args!("{}: line {line}: {why}", path.display())))
}

/// Warns of what has changed of `[access]` and is not taken over by a server that runs.
pub fn warn_of_what_stays(old: &Access, new: &Access) {
    let changed = [
        ("refused_publish", old.refused_publish != new.refused_publish),
        ("refused_will", old.refused_will != new.refused_will),
        ("answer_timeout", old.answer_timeout != new.answer_timeout),
        ("max_waiting", old.max_waiting != new.max_waiting),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        log::warn!("{key} of [access] stays as it was; it takes a restart to change it");
    }
}

/// What happens where the protocol leaves a choice of how to refuse.
pub fn refusals(access: &Access) -> Refusals {
    Refusals {
        publish: match access.refused_publish {
            None | Some(settings::RefusedPublish::Drop) => RefusedPublish::Drop,
            Some(settings::RefusedPublish::Close) => RefusedPublish::Close,
        },
        will: match access.refused_will {
            None | Some(settings::RefusedWill::Refuse) => RefusedWill::Refuse,
            Some(settings::RefusedWill::LeaveOut) => RefusedWill::LeaveOut,
        },
    }
}

/// The rules of a file.
pub fn rules(path: &Path) -> Result<Acl, Failure> {
    let name = path.display().to_string();
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Failure::usage(format_args!("{name} is not UTF-8, as every topic is")))?;
    let ours = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let parsed = if ours { Acl::parse(&name, &text) } else { Acl::parse_mosquitto(&name, &text) };
    parsed.map_err(|error| Failure::usage(format_args!("{name}: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_FILE => Ok(bytes),
        Ok(_) => Err(Failure::usage(format_args!("{} is longer than {MAX_FILE} bytes", path.display()))),
        Err(error) => Err(Failure::usage(format_args!("cannot read {}: {error}", path.display()))),
    }
}
