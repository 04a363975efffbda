//! Rules as they are written, and as they are for one client.

use super::side::{MAX_CAPTURES, Side};
use super::{Outside, RewriteError, Unfit, template, value_of};
use crate::acl::filter::meet;
use crate::acl::{Effect, Subject, Template};

/// The most rules of a set: a topic is held against one after the other.
pub const MAX_RULES: usize = 256;

/// Rules of which no two are for the same topic, or make the same.
#[derive(Clone, Debug)]
pub struct RuleSet(Vec<Written>);

/// A rule as it is written.
#[derive(Clone, Debug)]
struct Written {
    text: String,
    from: Half,
    to: Half,
}

/// One side of it.
#[derive(Clone, Debug)]
struct Half {
    /// With `+` for each capture.
    template: Template,
    /// The captures in their order, by their place in `from`.
    captures: Vec<usize>,
}

/// A rule for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    from: Side,
    to: Side,
}

/// From whose topics to whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

impl RuleSet {
    /// Reads rules such as `a/+x/b -> c/{x}/d`, `old/# -> new/#` and `me/# -> users/%u/#`.
    ///
    /// On the left stands what the client knows, `+x` for a level by this name (`+` alone for one that is known by its
    /// number, from 1), on the right what the server knows, with each of them as a whole level. `#` at the end stands for
    /// all that follows, on both sides or on none. `%u`, `%c` and `%{claim:NAME}` stand for what is known of the client.
    ///
    /// # Errors
    /// Says which rule cannot be meant and why, or which two collide.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<RuleSet, RewriteError> {
        if texts.len() > MAX_RULES {
            return Err(RewriteError(format!("there are more than {MAX_RULES} rules")));
        }
        let mut rules: Vec<Written> = Vec::new();
        for text in texts {
            let rule = Written::parse(text.as_ref())?;
            rules.iter().try_for_each(|before| before.check_beside(&rule))?;
            rules.push(rule);
        }
        Ok(RuleSet(rules))
    }

    /// The rules for one client.
    pub(super) fn of(&self, subject: &Subject<'_>) -> Result<Box<[Rule]>, Unfit> {
        let side = |half: &Half| Ok(Side::new(&value_of(&half.template, subject)?, &half.captures));
        self.0.iter().map(|rule| Ok(Rule { from: side(&rule.from)?, to: side(&rule.to)? })).collect()
    }
}

impl Written {
    fn parse(text: &str) -> Result<Written, RewriteError> {
        let wrong = |why: &str| RewriteError(format!("the rule {text:?} {why}"));
        let mut sides = text.split("->").map(str::trim);
        let (Some(left), Some(right), None) = (sides.next(), sides.next(), sides.next()) else {
            return Err(wrong("has to be one topic, ->, and another, such as \"a/+x/b -> c/{x}/d\""));
        };
        let (levels, names) = left_side(left).map_err(|why| wrong(&why))?;
        let from = Half {
            template: whole_side(&levels).map_err(|why| wrong(&why))?,
            captures: (0..names.len()).collect(),
        };
        let (levels, captures) = right_side(right, &names).map_err(|why| wrong(&why))?;
        let to = Half { template: whole_side(&levels).map_err(|why| wrong(&why))?, captures };
        if let Some(lost) = (0..names.len()).find(|number| !to.captures.contains(number)) {
            let name = names.get(lost).map_or("", String::as_str);
            return Err(wrong(&format!(
                "leaves {{{name}}} out on the right, so that topics become the same"
            )));
        }
        if left.ends_with('#') != right.ends_with('#') {
            return Err(wrong("has a # on one side only"));
        }
        Ok(Written { text: text.to_owned(), from, to })
    }

    /// Whether both can stand in one set.
    fn check_beside(&self, other: &Written) -> Result<(), RewriteError> {
        let collide = |why: &str, topic: &str| {
            let (one, two) = (&self.text, &other.text);
            Err(RewriteError(format!("the rules {one:?} and {two:?} {why}, such as {topic:?}")))
        };
        if let Some(topic) = common_topic(&self.from.template, &other.from.template) {
            return collide("are for the same topics", &topic);
        }
        match common_topic(&self.to.template, &other.to.template) {
            Some(topic) => collide("make the same topics", &topic),
            None => Ok(()),
        }
    }
}

/// The left side with its captures as `+`, and their names.
fn left_side(text: &str) -> Result<(String, Vec<String>), String> {
    let mut names: Vec<String> = Vec::new();
    let mut levels = Vec::new();
    for level in text.split('/') {
        let Some(name) = level.strip_prefix('+') else {
            levels.push(level);
            continue;
        };
        let name = if name.is_empty() { (names.len() + 1).to_string() } else { name.to_owned() };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("has a name {name:?} of other characters than letters, digits and _"));
        }
        if names.contains(&name) {
            return Err(format!("has two levels {name:?}"));
        }
        names.push(name);
        levels.push("+");
    }
    match names.len() {
        0..=MAX_CAPTURES => Ok((levels.join("/"), names)),
        _ => Err(format!("has more than {MAX_CAPTURES} levels with names")),
    }
}

/// The right side with its captures as `+`, and their numbers.
fn right_side(text: &str, names: &[String]) -> Result<(String, Vec<usize>), String> {
    let mut captures = Vec::new();
    let mut levels = Vec::new();
    for level in text.split('/') {
        // `%{claim:NAME}` is none of ours.
        if !level.replace("%{", "").contains('{') {
            match level.contains('+') {
                true => {
                    return Err(format!("has {level:?} on the right, where a level of the left is {{name}}"));
                }
                false => levels.push(level),
            }
            continue;
        }
        let name = level.strip_prefix('{').and_then(|level| level.strip_suffix('}'));
        let name = name.ok_or_else(|| format!("has {level:?}, where {{name}} has to be a whole level"))?;
        let number = names.iter().position(|known| *known == name);
        let number =
            number.ok_or_else(|| format!("has {{{name}}} on the right, but no +{name} on the left"))?;
        if captures.contains(&number) {
            return Err(format!("has {{{name}}} twice"));
        }
        captures.push(number);
        levels.push("+");
    }
    Ok((levels.join("/"), captures))
}

/// A side whose captures are `+`.
fn whole_side(text: &str) -> Result<Template, String> {
    let template = template(text)?;
    match text {
        "#" => Err("is for every topic; a mount point goes in front of all".to_owned()),
        _ if text.starts_with("$share/") => Err("is for $share/, which is no part of a topic".to_owned()),
        _ => Ok(template),
    }
}

/// A topic that both can be for, whatever is put in for placeholders. A value may bring a `$` in front.
fn common_topic(a: &Template, b: &Template) -> Option<String> {
    let widest = |template: &Template| {
        let made = template.without_values(Effect::Deny).filters;
        made.first().map(|filter| format!("x/{filter}"))
    };
    let both = meet(&widest(a)?, &widest(b)?)?;
    let level = |level| if matches!(level, "+" | "#") { "x" } else { level };
    Some(both.split('/').skip(1).map(level).collect::<Vec<_>>().join("/"))
}

impl Rule {
    /// Appends what a topic of the one side is on the other; or a filter, if the rule is for all that it matches. False if
    /// it is none of the rule's.
    ///
    /// # Errors
    /// If it is, and has no counterpart.
    #[inline]
    pub fn rewrite(&self, topic: &str, way: Way, made: &mut String) -> Result<bool, Outside> {
        let (from, to) = self.sides(way);
        let Some(found) = from.find(topic) else { return Ok(false) };
        to.make(&found, made)?;
        Ok(true)
    }

    /// Whether a topic is one that the rule makes on this way.
    #[inline]
    pub fn makes(&self, topic: &str, way: Way) -> bool {
        self.sides(way).1.find(topic).is_some()
    }

    /// The topics that it is for, on this way.
    pub fn filter(&self, way: Way) -> &str {
        &self.sides(way).0.filter
    }

    /// How much longer it may make a topic.
    pub fn growth(&self) -> usize {
        self.from.fixed_len().abs_diff(self.to.fixed_len())
    }

    fn sides(&self, way: Way) -> (&Side, &Side) {
        match way {
            Way::ToServer => (&self.from, &self.to),
            Way::ToClient => (&self.to, &self.from),
        }
    }
}
