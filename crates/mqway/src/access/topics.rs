//! From `[[topics]]` to hooks: topics that clients know by other names, and subscriptions without asking.

use std::sync::Arc;

use mqway_access::hook::Topics;
use mqway_access::rewrite::{Automatic, Mount, RewriteError, RuleSet, Section, Views, Who};
use mqway_codec::{QoS, RetainHandling, SubscribeOptions};
use mqway_hooks::Hooks;

use crate::failure::Failure;
use crate::settings::{self, Retained};

/// The most sections.
const MAX_SECTIONS: usize = 1_024;

/// Adds the hook, if there is anything for it to do. `before`: there was one until now, whose connections go on.
///
/// # Errors
/// One line about the first section that cannot be meant.
pub fn add(sections: &[settings::Topics], before: bool, hooks: &mut Hooks) -> Result<bool, Failure> {
    if sections.len() > MAX_SECTIONS {
        return Err(Failure::usage(format_args!("there are more than {MAX_SECTIONS} sections [[topics]]")));
    }
    let read = |(number, topics): (usize, &settings::Topics)| {
        section(topics).map_err(|why| Failure::usage(format_args!("[[topics]] {}: {why}", number + 1)))
    };
    let sections = sections.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    let views = Views::new(sections);
    let needed = before || !views.are_plain();
    if needed {
        hooks.add_transform(Arc::new(Topics::new(Arc::new(views))));
    }
    Ok(needed)
}

fn section(topics: &settings::Topics) -> Result<Section, RewriteError> {
    let settings::Topics { mount, rewrite, subscribe, .. } = topics;
    let options = options(topics)?;
    let automatic = |filter: &String| Automatic::parse(filter, options);
    Ok(Section {
        who: who(topics)?,
        mount: mount.as_deref().map(Mount::parse).transpose()?,
        rules: rewrite.as_deref().map(RuleSet::parse).transpose()?,
        subscriptions: subscribe.iter().flatten().map(automatic).collect::<Result<_, _>>()?,
    })
}

fn who(topics: &settings::Topics) -> Result<Who, RewriteError> {
    let settings::Topics { anonymous, users, clients, groups, listeners, transports, addresses, .. } = topics;
    let mut who = Who::everybody();
    if let Some(anonymous) = anonymous {
        who = who.anonymous(*anonymous);
    }
    if let Some(users) = users {
        who = who.users(users);
    }
    if let Some(clients) = clients {
        who = who.clients(clients);
    }
    if let Some(groups) = groups {
        who = who.groups(groups);
    }
    if let Some(listeners) = listeners {
        who = who.listeners(listeners);
    }
    if let Some(transports) = transports {
        who = who.transports(transports);
    }
    match addresses {
        Some(ranges) => who.addresses(ranges),
        None => Ok(who),
    }
}

fn options(topics: &settings::Topics) -> Result<SubscribeOptions, RewriteError> {
    let number = topics.subscribe_qos.unwrap_or(0);
    let qos = QoS::from_u8(number)
        .ok_or_else(|| RewriteError::new(format!("subscribe_qos is {number}; it can be 0, 1 or 2")))?;
    let mut options = SubscribeOptions::new(qos);
    options.no_local = topics.subscribe_no_local.unwrap_or(false);
    options.retain_as_published = topics.subscribe_retain_as_published.unwrap_or(false);
    options.retain_handling = match topics.subscribe_retained {
        Some(Retained::Always) => RetainHandling::Send,
        None | Some(Retained::New) => RetainHandling::SendIfNew,
        Some(Retained::Never) => RetainHandling::DoNotSend,
    };
    Ok(options)
}
