//! A part of the index: a tree of levels behind stems, in one array of nodes and one hash table.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use super::ends::{Ends, Reach, Roster};
use super::label::Label;
use super::path::{Path, Stem};
use crate::key::Key;
use crate::route::{Route, ShareId, Target};
use crate::table::Table;

/// No node.
const NONE: u32 = Stem::Whole as u32 - 1;
/// What stands as the parent of a node that is not in use.
const UNUSED: u32 = NONE - 1;
/// Below so many nodes it is not worth while to pack them.
const FEW: usize = 64;

/// Subscriptions whose stems fell to this part.
#[derive(Debug)]
pub(super) struct Shard<S, O> {
    /// Nodes refer to each other by their place here.
    nodes: Vec<Node<S, O>>,
    /// The first node that is not in use; each has the next in `plus`.
    unused: u32,
    used: usize,
    /// Nodes by their parent, or kind of stem, and their label; but for those of a `+`.
    edges: Table<u32>,
    groups: HashMap<ShareId, Group<S, O>>,
    /// Ids of groups by node, reach and share name.
    group_names: Table<u64>,
    /// The id of the next group. They go up by the number of shards, so that an id tells its shard.
    next_group: u64,
    shards: u64,
    /// Goes up each time that nodes change their places.
    layout: u32,
}

/// A level of filters behind their stem, or the stem itself.
#[derive(Debug)]
struct Node<S, O> {
    /// The node of the level before; a [`Stem`] where there is none.
    parent: u32,
    /// The child for `+`.
    plus: u32,
    /// How many children there are besides that for `+`.
    children: u32,
    /// The text of this level, or of the stem; empty for `+`.
    label: Label,
    ends: Ends<S, O>,
}

/// The members of one shared subscription: share name and filter.
#[derive(Debug)]
struct Group<S, O> {
    name: Box<str>,
    node: u32,
    reach: Reach,
    members: Roster<S, O>,
}

/// Where a filter is kept, or where those are that match a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    /// The share name of a shared subscription.
    pub share: Option<&'a str>,
    pub path: Path<'a>,
    /// The hash of the path's stem, by [`mix`].
    pub hash: u64,
}

/// What a change did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change<O> {
    /// The options of the subscription that was there before.
    pub before: Option<O>,
    /// Whether there is a shared subscription now that was not there before, or the other way round.
    pub share: bool,
}

impl<S: Copy + Eq + Hash, O: Copy> Shard<S, O> {
    /// The one with this number of so many.
    pub fn new(number: u64, shards: u64) -> Self {
        Self {
            nodes: Vec::new(),
            unused: NONE,
            used: 0,
            edges: Table::new(),
            groups: HashMap::new(),
            group_names: Table::new(),
            next_group: number,
            shards,
            layout: 0,
        }
    }

    pub fn insert(&mut self, address: &Address<'_>, target: Target<S, O>, key: &Key) -> Change<O> {
        let (node, reach) = self.make(address, key);
        let Some(name) = address.share else {
            return Change { before: self.node_mut(node).ends.insert(reach, target), share: false };
        };
        if let Some(id) = self.group(node, reach, name, key) {
            let before = self.groups.get_mut(&id).and_then(|group| group.members.insert(target));
            return Change { before, share: false };
        }
        let id = ShareId(self.next_group);
        self.next_group += self.shards;
        let mut members = Roster::new();
        members.insert(target);
        self.groups.insert(id, Group { name: name.into(), node, reach, members });
        let hash = group_hash(node, reach, name, key);
        self.group_names.insert(hash, id.0);
        self.node_mut(node).ends.insert_share(reach, id);
        Change { before: None, share: true }
    }

    pub fn remove(&mut self, address: &Address<'_>, subscriber: S, key: &Key) -> Change<O> {
        let nothing = Change { before: None, share: false };
        let Some((node, reach)) = self.seek(address, key) else { return nothing };
        let change = match address.share {
            None => Change { before: self.node_mut(node).ends.remove(reach, subscriber), share: false },
            Some(name) => {
                let Some(id) = self.group(node, reach, name, key) else { return nothing };
                self.leave(id, subscriber, key)
            }
        };
        if change.before.is_some() {
            self.prune(node, key);
        }
        change
    }

    /// The options of one subscription.
    pub fn options(&self, address: &Address<'_>, subscriber: S, key: &Key) -> Option<O> {
        let (node, reach) = self.seek(address, key)?;
        match address.share {
            None => self.node(node).ends.option_of(reach, subscriber),
            Some(name) => {
                self.groups.get(&self.group(node, reach, name, key)?)?.members.option_of(subscriber)
            }
        }
    }

    /// The members of a shared subscription.
    pub fn members(&self, id: ShareId) -> Option<&[Target<S, O>]> {
        Some(self.groups.get(&id)?.members.targets())
    }

    /// Adds to `route` what matches a topic and has its stem here. `frontier` is scratch: the nodes that matched, level
    /// by level.
    pub fn collect(
        &self,
        address: &Address<'_>,
        key: &Key,
        frontier: &mut Vec<u32>,
        route: &mut Route<S, O>,
    ) {
        let Some(node) = self.stem(address) else { return };
        frontier.clear();
        frontier.push(node);
        let mut from = 0;
        for level in address.path.levels() {
            let to = frontier.len();
            if from == to {
                return;
            }
            let mut hash = None; // Of this level, once a node asks for it.
            for at in from..to {
                let parent = frontier[at];
                let node = self.node(parent);
                self.take(&node.ends, Reach::Below, route);
                if node.plus != NONE {
                    frontier.push(node.plus);
                }
                if node.children > 0 {
                    let hash = *hash.get_or_insert_with(|| key.hash_one(level));
                    frontier.extend(self.child(parent, edge_hash(parent, hash), level));
                }
            }
            from = to;
        }
        for node in &frontier[from..] {
            let ends = &self.node(*node).ends;
            self.take(ends, Reach::Here, route);
            self.take(ends, Reach::Below, route); // `sport/#` includes `sport`: 5.0 §4.7.1.2.
        }
    }

    /// Hands to `visit` the filter, share name and subscriptions of the nodes from place `from` on, until there have
    /// been `most` subscriptions. The place to go on at; `None` at the end.
    pub fn list(
        &self,
        from: usize,
        most: &mut usize,
        text: &mut String,
        visit: &mut impl FnMut(&str, Option<&str>, &[Target<S, O>]),
    ) -> Option<usize> {
        for (place, node) in self.nodes.iter().enumerate().skip(from) {
            if *most == 0 {
                return Some(place);
            }
            if node.parent == UNUSED || node.ends.is_none() {
                continue;
            }
            let mut hand_on = |share, reach, targets: &[Target<S, O>]| {
                if !targets.is_empty() {
                    self.filter(place as u32, reach, text);
                    visit(text, share, targets);
                    *most = most.saturating_sub(targets.len());
                }
            };
            hand_on(None, Reach::Here, node.ends.targets(Reach::Here));
            hand_on(None, Reach::Below, node.ends.targets(Reach::Below));
            for (id, reach) in node.ends.shares() {
                if let Some(group) = self.groups.get(id) {
                    hand_on(Some(&group.name), *reach, group.members.targets());
                }
            }
        }
        None
    }

    /// Bytes that its tables take, without what they point to.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node<S, O>>()
            + self.edges.bytes()
            + self.group_names.bytes()
            + self.groups.capacity() * size_of::<(ShareId, Group<S, O>)>()
    }

    /// Changes each time that places become those of other nodes.
    pub fn layout(&self) -> u32 {
        self.layout
    }

    fn take(&self, ends: &Ends<S, O>, reach: Reach, route: &mut Route<S, O>) {
        let targets = ends.targets(reach);
        if !targets.is_empty() {
            route.push_direct(targets);
        }
        for (id, at) in ends.shares() {
            if *at == reach
                && let Some(group) = self.groups.get(id)
            {
                route.push_share(*id, group.members.targets());
            }
        }
    }

    /// The node where a filter ends.
    fn seek(&self, address: &Address<'_>, key: &Key) -> Option<(u32, Reach)> {
        let mut node = self.stem(address)?;
        for level in address.path.levels() {
            node = match level {
                "#" => return Some((node, Reach::Below)),
                "+" => Some(self.node(node).plus).filter(|plus| *plus != NONE)?,
                _ => self.child(node, edge_hash(node, key.hash_one(level)), level)?,
            };
        }
        Some((node, Reach::Here))
    }

    /// The node where a filter ends, made if it is missing.
    fn make(&mut self, address: &Address<'_>, key: &Key) -> (u32, Reach) {
        let path = address.path;
        let mut node = self.make_child(path.stem as u32, address.hash as u32, path.text);
        for level in address.path.levels() {
            node = match level {
                "#" => return (node, Reach::Below),
                "+" => self.make_plus(node),
                _ => self.make_child(node, edge_hash(node, key.hash_one(level)), level),
            };
        }
        (node, Reach::Here)
    }

    fn make_plus(&mut self, parent: u32) -> u32 {
        if self.node(parent).plus == NONE {
            let child = self.add(parent, "");
            self.node_mut(parent).plus = child;
        }
        self.node(parent).plus
    }

    fn make_child(&mut self, parent: u32, hash: u32, label: &str) -> u32 {
        if let Some(child) = self.child(parent, hash, label) {
            return child;
        }
        let child = self.add(parent, label);
        self.edges.insert(hash, child);
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children += 1;
        }
        child
    }

    fn stem(&self, Address { path, hash, .. }: &Address<'_>) -> Option<u32> {
        self.child(path.stem as u32, *hash as u32, path.text)
    }

    fn child(&self, parent: u32, hash: u32, label: &str) -> Option<u32> {
        self.edges.find(hash, |child| {
            let node = self.node(child);
            node.parent == parent && node.label.as_bytes() == label.as_bytes()
        })
    }

    fn group(&self, node: u32, reach: Reach, name: &str, key: &Key) -> Option<ShareId> {
        let is_it = |id| {
            let group = self.groups.get(&ShareId(id));
            group.is_some_and(|group| group.node == node && group.reach == reach && *group.name == *name)
        };
        self.group_names.find(group_hash(node, reach, name, key), is_it).map(ShareId)
    }

    /// Takes a member out of its group, and ends the group with its last.
    fn leave(&mut self, id: ShareId, subscriber: S, key: &Key) -> Change<O> {
        let Some(group) = self.groups.get_mut(&id) else { return Change { before: None, share: false } };
        let before = group.members.remove(subscriber);
        if !group.members.targets().is_empty() {
            return Change { before, share: false };
        }
        let (node, hash) = (group.node, group_hash(group.node, group.reach, &group.name, key));
        self.group_names.remove(hash, |present| present == id.0);
        self.groups.remove(&id);
        self.node_mut(node).ends.remove_share(id);
        let len = self.groups.len();
        if len < self.groups.capacity() / 4 {
            self.groups.shrink_to(len * 2);
        }
        Change { before, share: true }
    }

    fn add(&mut self, parent: u32, label: &str) -> u32 {
        let node = Node { parent, plus: NONE, children: 0, label: Label::new(label), ends: Ends::None };
        self.used += 1;
        if self.unused != NONE {
            let place = self.unused;
            self.unused = self.node(place).plus;
            *self.node_mut(place) = node;
            return place;
        }
        let place = self.nodes.len() as u32;
        // So many nodes would take 240 GB.
        assert!(place < UNUSED, "a shard of the index has no more than 4 thousand million nodes");
        self.nodes.push(node);
        place
    }

    /// Takes out a node that nothing needs, and what is above it and needed no more.
    fn prune(&mut self, mut place: u32, key: &Key) {
        while let Some(node) = self.nodes.get(place as usize) {
            if !node.ends.is_none() || node.plus != NONE || node.children > 0 {
                break;
            }
            let parent = node.parent;
            if self.is_plus(place) {
                self.node_mut(parent).plus = NONE;
            } else {
                let hash = edge_hash(parent, key.hash_one(node.label.as_str()));
                self.edges.remove(hash, |child| child == place);
                if let Some(parent) = self.nodes.get_mut(parent as usize) {
                    parent.children -= 1;
                }
            }
            let unused = Node {
                parent: UNUSED,
                plus: self.unused,
                children: 0,
                label: Label::EMPTY,
                ends: Ends::None,
            };
            *self.node_mut(place) = unused;
            self.unused = place;
            self.used -= 1;
            place = parent;
        }
        if self.nodes.len() > FEW && self.used < self.nodes.len() / 4 || self.used == 0 {
            self.pack(key);
        }
    }

    /// Moves the nodes together and gives back the memory of those that are not in use. Each removal that led here
    /// has paid for a constant part of it.
    fn pack(&mut self, key: &Key) {
        let mut moved = vec![NONE; self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.used);
        for (place, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            if node.parent != UNUSED {
                moved[place] = nodes.len() as u32;
                nodes.push(node);
            }
        }
        let to = |place: u32| moved.get(place as usize).copied().unwrap_or(place); // Stems and NONE stay.
        for node in &mut nodes {
            node.parent = to(node.parent);
            node.plus = to(node.plus);
        }
        self.nodes = nodes;
        self.unused = NONE;
        self.layout = self.layout.wrapping_add(1);
        self.edges.reset(self.used);
        for (child, node) in (0..).zip(&self.nodes) {
            if !self.is_plus(child) {
                self.edges.insert(edge_hash(node.parent, key.hash_one(node.label.as_str())), child);
            }
        }
        self.groups.shrink_to_fit();
        self.group_names.reset(self.groups.len());
        for (id, group) in &mut self.groups {
            group.node = to(group.node);
            self.group_names.insert(group_hash(group.node, group.reach, &group.name, key), id.0);
        }
    }

    fn is_plus(&self, place: u32) -> bool {
        self.nodes.get(self.node(place).parent as usize).is_some_and(|parent| parent.plus == place)
    }

    /// Writes the filter that ends at a node.
    fn filter(&self, place: u32, reach: Reach, text: &mut String) {
        let mut levels = vec![];
        let mut at = place;
        while let Some(node) = self.nodes.get(at as usize) {
            if node.parent != Stem::Nothing as u32 {
                levels.push(if self.is_plus(at) { "+" } else { node.label.as_str() });
            }
            at = node.parent;
        }
        text.clear();
        levels.reverse();
        if reach == Reach::Below {
            levels.push("#");
        }
        for (index, level) in levels.iter().enumerate() {
            if index > 0 {
                text.push('/');
            }
            text.push_str(level);
        }
    }

    /// Places come from this shard alone, and are forgotten with the node.
    fn node(&self, place: u32) -> &Node<S, O> {
        &self.nodes[place as usize]
    }

    fn node_mut(&mut self, place: u32) -> &mut Node<S, O> {
        &mut self.nodes[place as usize]
    }
}

/// The hash of a node's parent, or kind of stem, and the hash of its label, which nobody outside can foresee.
fn edge_hash(parent: u32, label: u64) -> u32 {
    mix(parent, label) as u32
}

/// Of whole stems all bits are used: some for the shard, some for the generation.
pub(super) fn mix(parent: u32, label: u64) -> u64 {
    let mixed =
        (label ^ u64::from(parent).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ mixed >> 32
}

fn group_hash(node: u32, reach: Reach, name: &str, key: &Key) -> u32 {
    edge_hash(node, key.hash_one((reach, name)))
}
