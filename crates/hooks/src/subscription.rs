//! Filters that hooks judge and change.

use std::borrow::Cow;

use mqway_codec::{QoS, SubscribeOptions, TopicError, TopicFilter};

/// The topic filter of a subscription, of SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    text: Cow<'a, str>,
}

impl<'a> Filter<'a> {
    /// As the client sent it.
    pub fn new(filter: TopicFilter<'a>) -> Filter<'a> {
        Filter { text: Cow::Borrowed(filter.as_str()) }
    }

    /// The whole of it: of a shared subscription with `$share/group/`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The group, if it is that of a shared subscription (5.0 §4.8.2).
    pub fn group(&self) -> Option<&str> {
        self.parts().map(|(group, _)| group)
    }

    /// What topics are compared with: without `$share/group/`.
    pub fn matched(&self) -> &str {
        self.parts().map_or(&self.text, |(_, matched)| matched)
    }

    /// Puts another filter in the place of the one that topics are compared with; the group stays.
    ///
    /// # Errors
    /// If the text is no topic filter; nothing is changed then.
    pub fn set_matched(&mut self, filter: &str) -> Result<(), TopicError> {
        let text = match self.group() {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.to_owned(),
        };
        TopicFilter::new(&text)?;
        self.text = Cow::Owned(text);
        Ok(())
    }

    /// Whether a hook has changed it.
    pub fn is_changed(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    fn parts(&self) -> Option<(&str, &str)> {
        let (group, matched) = TopicFilter::new(&self.text).ok()?.share()?;
        // The text of the inner filter is a slice of ours.
        Some((group, &self.text[self.text.len() - matched.as_str().len()..]))
    }
}

/// One subscription of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Its filter.
    pub filter: Filter<'a>,
    options: SubscribeOptions,
}

impl<'a> Subscription<'a> {
    /// As the client wants it.
    pub fn new(filter: TopicFilter<'a>, options: SubscribeOptions) -> Subscription<'a> {
        Subscription { filter: Filter::new(filter), options }
    }

    /// Its options, with the QoS as far as it was lowered.
    pub fn options(&self) -> SubscribeOptions {
        self.options
    }

    /// Grants no more than this QoS.
    pub fn lower_qos(&mut self, most: QoS) {
        self.options.qos = self.options.qos.min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_keeps_its_group() {
        let mut filter = Filter::new(TopicFilter::new("$share/g/a/#").unwrap());
        assert_eq!((filter.group(), filter.matched()), (Some("g"), "a/#"));
        filter.set_matched("home/a/#").unwrap();
        assert_eq!(filter.as_str(), "$share/g/home/a/#");
        assert!(filter.set_matched("a/#/b").is_err());
        assert_eq!(filter.matched(), "home/a/#");
        let plain = Filter::new(TopicFilter::new("a").unwrap());
        assert_eq!((plain.group(), plain.matched(), plain.is_changed()), (None, "a", false));
    }
}
