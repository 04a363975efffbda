//! One side of a rule, with the client's values put in.

use super::Outside;

/// The most captures of a rule.
pub const MAX_CAPTURES: usize = 16;

/// The topics that a rule is for, or those that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// As a filter.
    pub filter: Box<str>,
    levels: Box<[Level]>,
    /// Any levels may follow, or none.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Text(Box<str>),
    /// Whatever stands here is the capture of this number.
    Capture(usize),
}

/// What the captures of a rule stand for.
pub struct Found<'t> {
    captures: [&'t str; MAX_CAPTURES],
    /// What is behind the levels of the side, with the `/` in front of it.
    rest: &'t str,
}

impl Side {
    /// A filter, whose `+` are the captures of these numbers.
    pub fn new(filter: &str, captures: &[usize]) -> Side {
        let (mut captures, mut open) = (captures.iter(), false);
        let mut levels = Vec::new();
        for level in filter.split('/') {
            match level {
                "#" => open = true,
                "+" => levels.extend(captures.next().map(|&number| Level::Capture(number))),
                text => levels.push(Level::Text(text.into())),
            }
        }
        Side { filter: filter.into(), levels: levels.into(), open }
    }

    /// Bytes of it that are not captured.
    pub fn fixed_len(&self) -> usize {
        let text = |level: &Level| match level {
            Level::Text(text) => text.len(),
            Level::Capture(_) => 0,
        };
        self.levels.iter().map(text).sum::<usize>() + self.levels.len()
    }

    /// What the captures stand for, if the topic is one of this side; or the filter, if all topics are that it matches.
    #[inline]
    pub fn find<'t>(&self, topic: &'t str) -> Option<Found<'t>> {
        let mut found = Found { captures: [""; MAX_CAPTURES], rest: "" };
        // `None` behind the last level.
        let mut rest = Some(topic);
        for (at, level) in self.levels.iter().enumerate() {
            let (text, behind) = match rest?.split_once('/') {
                Some((text, behind)) => (text, Some(behind)),
                None => (rest?, None),
            };
            match level {
                Level::Text(own) if **own == *text => {}
                Level::Text(_) => return None,
                // [MQTT-4.7.2-1]
                Level::Capture(_) if text == "#" || at == 0 && text.starts_with('$') => return None,
                Level::Capture(number) => *found.captures.get_mut(*number)? = text,
            }
            rest = behind;
        }
        match rest {
            None => Some(found),
            // Where it goes on there is a `/` in front.
            Some(behind) if self.open => {
                found.rest = topic.get(topic.len().checked_sub(behind.len() + 1)?..)?;
                Some(found)
            }
            Some(_) => None,
        }
    }

    /// Appends the topic, or the filter, that this side has for what the other side has found.
    ///
    /// # Errors
    /// If it would begin with a `$` that has not been in front before.
    #[inline]
    pub fn make(&self, found: &Found<'_>, made: &mut String) -> Result<(), Outside> {
        for (at, level) in self.levels.iter().enumerate() {
            let text = match level {
                Level::Text(text) => text,
                Level::Capture(number) => found.captures.get(*number).copied().unwrap_or_default(),
            };
            match level {
                _ if at > 0 => made.push('/'),
                Level::Capture(_) if text.starts_with('$') => return Err(Outside::Dollar),
                _ => {}
            }
            made.push_str(text);
        }
        made.push_str(found.rest);
        Ok(())
    }
}
