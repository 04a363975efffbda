//! What claims mean: until when a token is good, for whom, and who that is.

use std::time::Duration;

use mqway_codec::TopicFilter;
use serde_json::{Map, Value};

use super::Rules;
use super::refusal::Refusal;
use crate::identity::Identity;

/// Members of a group, filters of a list: no claim gives more.
const MAX_ENTRIES: usize = 256;

/// The longest text of a claim, in bytes: what an MQTT string can hold.
const MAX_TEXT: usize = 65_535;

/// Seconds since 1970 beyond which no date is told from another: the year 10000 is no worse than the end of time.
const LATEST: u64 = 253_402_300_800;

/// Claims whose signature has been checked.
pub(super) struct Claims(pub Map<String, Value>);

impl Claims {
    /// Who this is, if the claims are good `now` (since 1970).
    pub fn judge(&self, rules: &Rules, now: Duration) -> Result<Identity, Refusal> {
        let expires_at = self.check_time(rules, now)?;
        self.check_issuer(rules)?;
        self.check_audience(rules)?;
        let names = &rules.claims;
        let mut kept = Vec::new();
        for name in names.keep.iter().take(MAX_ENTRIES) {
            if self.find(name).is_some() {
                kept.push((name.clone(), self.text(name)?));
            }
        }
        Ok(Identity {
            user_name: names.user_name.as_ref().map(|name| self.text(name)).transpose()?,
            client_id: names.client_id.as_ref().map(|name| self.text(name)).transpose()?,
            groups: self.list(names.groups.as_deref())?.unwrap_or_default(),
            publish: self.filters(names.publish.as_deref())?,
            subscribe: self.filters(names.subscribe.as_deref())?,
            claims: kept,
            expires_at,
        })
    }

    fn check_time(&self, rules: &Rules, now: Duration) -> Result<Option<Duration>, Refusal> {
        let expires_at = self.date("exp")?.map(|date| date.saturating_add(rules.leeway));
        match expires_at {
            None if rules.must_expire => return Err(Refusal::NeverExpires),
            // On or after its time it must not be accepted (RFC 7519 §4.1.4).
            Some(end) if now >= end => return Err(Refusal::Expired),
            _ => {}
        }
        if self.date("nbf")?.is_some_and(|begin| now.saturating_add(rules.leeway) < begin) {
            return Err(Refusal::NotYetValid); // RFC 7519 §4.1.5
        }
        Ok(expires_at)
    }

    fn check_issuer(&self, rules: &Rules) -> Result<(), Refusal> {
        let issuer = self.0.get("iss").map(|_| self.text("iss")).transpose()?;
        let trusted = |issuer: &String| rules.issuers.contains(issuer);
        if rules.issuers.is_empty() || issuer.as_ref().is_some_and(trusted) {
            Ok(())
        } else {
            Err(Refusal::WrongIssuer)
        }
    }

    /// A token that names an audience is refused by whoever isn't in it (RFC 7519 §4.1.3), also where nothing is
    /// configured.
    fn check_audience(&self, rules: &Rules) -> Result<(), Refusal> {
        let ours = |audience: &Value| {
            audience.as_str().is_some_and(|audience| rules.audiences.iter().any(|ours| ours == audience))
        };
        let good = match self.0.get("aud") {
            None => rules.audiences.is_empty(),
            Some(Value::Array(audiences)) => audiences.iter().any(ours),
            Some(audience) => ours(audience),
        };
        if good { Ok(()) } else { Err(Refusal::WrongAudience) }
    }

    /// A member of the claims by its name; or, by a name with a slash in front, one further in (RFC 6901).
    fn find(&self, name: &str) -> Option<&Value> {
        let Some((first, rest)) =
            name.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, "")))
        else {
            return self.0.get(name);
        };
        let outer = self.0.get(&first.replace("~1", "/").replace("~0", "~"))?;
        if rest.is_empty() { Some(outer) } else { outer.pointer(&format!("/{rest}")) }
    }

    /// A NumericDate (RFC 7519 §2). What is there and none is refused, not passed over.
    fn date(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite());
        let seconds = seconds.ok_or_else(|| wrong(name, "a date, in seconds since 1970"))?;
        Ok(Some(Duration::from_secs_f64(seconds.clamp(0.0, LATEST as f64))))
    }

    /// Text, or a whole number, that MQTT could carry.
    fn text(&self, name: &str) -> Result<String, Refusal> {
        let text = match self.find(name) {
            None | Some(Value::Null) => return Err(Refusal::MissingClaim(name.to_owned())),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
            Some(_) => return Err(wrong(name, "text")),
        };
        if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err(wrong(name, "text that can be shown"));
        }
        Ok(text)
    }

    /// A list of texts; or one text with spaces between, as in the `scope` of RFC 8693 §4.2. None if there is no
    /// such claim.
    fn list(&self, name: Option<&str>) -> Result<Option<Vec<String>>, Refusal> {
        let Some(name) = name else { return Ok(None) };
        let texts: Option<Vec<String>> = match self.find(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => Some(text.split_ascii_whitespace().map(str::to_owned).collect()),
            Some(Value::Array(values)) => {
                values.iter().take(MAX_ENTRIES + 1).map(|value| value.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        };
        let fits = |texts: &Vec<String>| texts.len() <= MAX_ENTRIES && !texts.iter().any(|text| !fit(text));
        texts.filter(fits).map(Some).ok_or_else(|| wrong(name, "a list of at most 256 texts"))
    }

    /// A list of topic filters. Where the configuration names a claim for it and the token has none, nothing is
    /// allowed.
    fn filters(&self, name: Option<&str>) -> Result<Option<Vec<String>>, Refusal> {
        let Some(name) = name else { return Ok(None) };
        // Spaces are good in topics, so that a text is one filter.
        let filters = match self.find(name) {
            Some(Value::String(filter)) => vec![filter.clone()],
            _ => self.list(Some(name))?.unwrap_or_default(),
        };
        if filters.iter().any(|filter| TopicFilter::new(filter).is_err()) {
            return Err(wrong(name, "a list of topic filters"));
        }
        Ok(Some(filters))
    }
}

fn fit(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn wrong(claim: &str, expected: &'static str) -> Refusal {
    Refusal::WrongClaim { claim: claim.to_owned(), expected }
}
