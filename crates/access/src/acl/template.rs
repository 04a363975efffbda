//! Topics of rules, in which placeholders stand for what is known of a client.
//!
//! What a client says of itself must not make a rule wider than it reads. A value with `+`, `#`, `/` or U+0000 in it,
//! an empty one, and in front of a topic one that begins with `$`, is therefore never put in: an allowing rule is then
//! not for this client, and in a denying one the whole level becomes `+`.

use std::fmt;

use super::rule::{Effect, Subject};

/// The most filters that one topic of a rule becomes by claims that have several values.
pub const MAX_FILTERS: usize = 256;

/// A topic filter with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    levels: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    User,
    Client,
    Claim(Box<str>),
}

/// Which placeholders a file knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `%u`, `%c`, `%{claim:NAME}` and `%%`; any other `%` is a mistake.
    Ours,
    /// `%u` and `%c`; any other `%` is itself.
    Mosquitto,
}

/// What a template is for one client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Each is a valid filter if the template is one.
    pub filters: Vec<String>,
    /// A value could not be put in.
    pub unusable: bool,
}

impl Template {
    /// Reads `text`.
    ///
    /// # Errors
    /// Says what is wrong with a placeholder.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Template, String> {
        let levels = text.split('/').map(|level| pieces(level, dialect)).collect::<Result<_, _>>()?;
        Ok(Template { levels })
    }

    /// A template in which nothing is a placeholder.
    pub fn literal(text: &str) -> Template {
        let level = |level: &str| match level {
            "" => Vec::new(),
            text => vec![Piece::Text(text.into())],
        };
        Template { levels: text.split('/').map(level).collect() }
    }

    /// The text, if it holds no placeholder.
    pub fn fixed(&self) -> Option<String> {
        let texts = self.levels.iter().map(|level| match level.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(&**text),
            _ => None,
        });
        Some(texts.collect::<Option<Vec<_>>>()?.join("/"))
    }

    /// With `x` for each placeholder: valid if and only if every filter is that comes of it.
    pub fn sample(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::User | Piece::Client | Piece::Claim(_) => "x".to_owned(),
        };
        let level = |level: &Vec<Piece>| level.iter().map(piece).collect::<String>();
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// With every value that `subject` has. Without any, if it lacks one: an anonymous client has no user name.
    pub fn filters(&self, subject: &Subject<'_>, effect: Effect) -> Filters {
        match self.most(subject) {
            0 => return Filters::default(),
            1..=MAX_FILTERS => {}
            _ => return self.without_values(effect),
        }
        let mut made = Filters { filters: vec![String::new()], unusable: false };
        for (index, level) in self.levels.iter().enumerate() {
            let choices = match &**level {
                [] => vec![String::new()],
                [Piece::Text(text)] => vec![text.to_string()],
                _ => {
                    let choices = choices(level, subject, index == 0, effect);
                    made.unusable |= choices.unusable;
                    choices.filters
                }
            };
            let separator = if index == 0 { "" } else { "/" };
            let begun = std::mem::take(&mut made.filters);
            let longer =
                |start: &String| choices.iter().map(|choice| format!("{start}{separator}{choice}")).collect();
            made.filters = begun.iter().flat_map::<Vec<_>, _>(longer).collect();
        }
        made
    }

    /// What it is for a client whose values cannot be put in.
    pub fn without_values(&self, effect: Effect) -> Filters {
        let level = |level: &Vec<Piece>| match &**level {
            [] => String::new(),
            [Piece::Text(text)] => text.to_string(),
            _ => "+".to_owned(),
        };
        let filter = || self.levels.iter().map(level).collect::<Vec<_>>().join("/");
        let filters = if effect == Effect::Deny { vec![filter()] } else { Vec::new() };
        Filters { filters, unusable: true }
    }

    /// How many filters it can become: as many as there are combinations of values.
    fn most(&self, subject: &Subject<'_>) -> usize {
        let counts = self.levels.iter().flatten().map(|piece| values(piece, subject).len());
        counts.fold(1, usize::saturating_mul)
    }
}

/// As it is written in our files.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, level) in self.levels.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "/" })?;
            for piece in level {
                match piece {
                    Piece::Text(text) => f.write_str(&text.replace('%', "%%"))?,
                    Piece::User => f.write_str("%u")?,
                    Piece::Client => f.write_str("%c")?,
                    Piece::Claim(name) => write!(f, "%{{claim:{name}}}")?,
                }
            }
        }
        Ok(())
    }
}

/// All that a level with placeholders becomes.
fn choices(level: &[Piece], subject: &Subject<'_>, in_front: bool, effect: Effect) -> Filters {
    let mut made = Filters { filters: vec![String::new()], unusable: false };
    for piece in level {
        let begun = std::mem::take(&mut made.filters);
        for value in values(piece, subject) {
            if matches!(piece, Piece::Text(_)) || is_usable(value, effect) {
                made.filters.extend(begun.iter().map(|start| format!("{start}{value}")));
            } else {
                made.unusable = true;
            }
        }
    }
    if in_front && effect == Effect::Allow {
        // A `$` that the rule itself has in front is meant.
        let meant = matches!(level.first(), Some(Piece::Text(_)));
        let before = made.filters.len();
        made.filters.retain(|filter| meant || !filter.starts_with('$'));
        made.unusable |= made.filters.len() < before;
    }
    if made.unusable {
        made.filters.extend(fallback(effect));
    }
    made
}

/// What stands in a level for a value that cannot be put in.
fn fallback(effect: Effect) -> Vec<String> {
    match effect {
        Effect::Allow => Vec::new(),
        Effect::Deny => vec!["+".to_owned()],
    }
}

fn values<'a>(piece: &'a Piece, subject: &'a Subject<'_>) -> Vec<&'a str> {
    match piece {
        Piece::Text(text) => vec![text],
        Piece::User => subject.user.into_iter().collect(),
        Piece::Client => vec![subject.client_id],
        Piece::Claim(name) => {
            let own = subject.claims.iter().filter(|(own, _)| **own == **name);
            own.map(|(_, value)| value.as_str()).collect()
        }
    }
}

/// Whether a value may be put in. An empty one is as good as another where something is denied.
fn is_usable(value: &str, effect: Effect) -> bool {
    !value.contains(['+', '#', '/', '\0']) && (effect == Effect::Deny || !value.is_empty())
}

fn pieces(level: &str, dialect: Dialect) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = level;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (piece, behind) = placeholder(after, dialect)?;
        match piece {
            Some(piece) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text).into()));
                }
                pieces.push(piece);
            }
            None => text.push('%'),
        }
        rest = behind;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    Ok(pieces)
}

/// What stands behind a `%`, or nothing if that is just a `%`; and what follows.
fn placeholder(after: &str, dialect: Dialect) -> Result<(Option<Piece>, &str), String> {
    if let Some(rest) = after.strip_prefix('u') {
        return Ok((Some(Piece::User), rest));
    }
    if let Some(rest) = after.strip_prefix('c') {
        return Ok((Some(Piece::Client), rest));
    }
    if dialect == Dialect::Mosquitto {
        return Ok((None, after));
    }
    if let Some(rest) = after.strip_prefix('%') {
        return Ok((None, rest));
    }
    let claim = after.strip_prefix("{claim:").and_then(|rest| rest.split_once('}'));
    match claim {
        Some((name, rest)) if !name.is_empty() => Ok((Some(Piece::Claim(name.into())), rest)),
        _ => Err("a % is followed by u, c, {claim:NAME}, or another % for itself".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str, subject: &Subject<'_>, effect: Effect) -> Filters {
        Template::parse(text, Dialect::Ours).unwrap().filters(subject, effect)
    }

    fn named<'a>(user: &'a str, client_id: &'a str) -> Subject<'a> {
        Subject { user: Some(user), client_id, ..Subject::default() }
    }

    #[test]
    fn values_are_put_in() {
        let claims = ["a", "b"].map(|value| ("room".to_owned(), value.to_owned()));
        let subject = Subject { claims: &claims, ..named("alice", "c1") };
        for (template, expected) in [
            ("fixed/+/#", &["fixed/+/#"][..]),
            ("u/%u/%c/#", &["u/alice/c1/#"]),
            ("dev-%c.%u", &["dev-c1.alice"]),
            ("100%%/%u", &["100%/alice"]),
            ("r/%{claim:room}/%u", &["r/a/alice", "r/b/alice"]),
            ("%{claim:room}-%{claim:room}", &["a-a", "b-a", "a-b", "b-b"]),
            ("%{claim:none}/x", &[]),
            ("//", &["//"]),
        ] {
            for effect in [Effect::Allow, Effect::Deny] {
                let made = filters(template, &subject, effect);
                assert_eq!(made.filters, expected, "{template}");
                assert!(!made.unusable);
            }
        }
        let anonymous = Subject { user: None, ..subject };
        assert_eq!(filters("u/%u", &anonymous, Effect::Deny), Filters::default());
    }

    #[test]
    fn no_value_makes_a_rule_wider() {
        for value in ["+", "#", "a+", "a#", "a/b", "/", "a\0"] {
            for subject in [named(value, "c"), named("u", value)] {
                let made = filters("x/%u.%c/y", &subject, Effect::Allow);
                assert_eq!(made, Filters { filters: vec![], unusable: true }, "{value:?}");
                let made = filters("x/%u.%c/y", &subject, Effect::Deny);
                assert_eq!(made.filters, ["x/+/y"], "{value:?}");
            }
        }
        assert_eq!(filters("%u/#", &named("$SYS", ""), Effect::Allow).filters, [""; 0]);
        assert_eq!(filters("%u/#", &named("$SYS", ""), Effect::Deny).filters, ["$SYS/#"]);
        assert_eq!(filters("a/%u/#", &named("$SYS", ""), Effect::Allow).filters, ["a/$SYS/#"]);
        assert_eq!(filters("$%u/#", &named("SYS", ""), Effect::Allow).filters, ["$SYS/#"]);
        assert_eq!(filters("a/%c/#", &named("u", ""), Effect::Allow).filters, [""; 0]);
        assert_eq!(filters("a/%c/#", &named("u", ""), Effect::Deny).filters, ["a//#"]);
    }

    #[test]
    fn many_values_do_not_make_many_filters() {
        let claims: Vec<_> = (0..17).map(|n| ("n".to_owned(), n.to_string())).collect();
        let subject = Subject { claims: &claims, ..Subject::default() };
        assert_eq!(filters("%{claim:n}/x", &subject, Effect::Allow).filters.len(), 17);
        let both = "%{claim:n}/y/%{claim:n}";
        assert_eq!(filters(both, &subject, Effect::Allow), Filters { filters: vec![], unusable: true });
        assert_eq!(filters(both, &subject, Effect::Deny).filters, ["+/y/+"]);
    }

    #[test]
    fn mistakes_are_told_and_mosquitto_has_none() {
        for text in ["%", "a/%x", "%{claim:}", "%{claim:x", "%{user}", "%{claim:a/b}"] {
            assert!(Template::parse(text, Dialect::Ours).is_err(), "{text}");
        }
        let template = Template::parse("%%c/%x/%{claim:a}/%", Dialect::Mosquitto).unwrap();
        assert_eq!(template.filters(&named("u", "C"), Effect::Allow).filters, ["%C/%x/%{claim:a}/%"]);
        assert_eq!(Template::parse("a/%%/%%u", Dialect::Ours).unwrap().fixed().unwrap(), "a/%/%u");
        let text = "/a/%%-%u/x%c%{claim:b}//#";
        assert_eq!(Template::parse(text, Dialect::Ours).unwrap().to_string(), text);
        assert_eq!(Template::parse("a/%u", Dialect::Ours).unwrap().fixed(), None);
    }
}
