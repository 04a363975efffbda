//! The subscriptions of the filters that end at one node.

use std::collections::HashMap;
use std::hash::Hash;

use crate::{ShareId, Target};

/// Which of the two filters that end at a node: the one that ends with it, or the one that has `/#` behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    Here,
    /// This level and all below it.
    Below,
}

/// The subscriptions that end at a node. Nearly always it is one, so that one needs no allocation.
#[derive(Debug)]
pub(crate) enum Ends<S, O> {
    None,
    One(Target<S, O>, Reach),
    Many(Box<Lists<S, O>>),
}

#[derive(Debug)]
pub(crate) struct Lists<S, O> {
    here: Roster<S, O>,
    below: Roster<S, O>,
    /// Shared subscriptions; their members are kept with the shard.
    shares: Vec<(ShareId, Reach)>,
}

impl<S: Copy + Eq + Hash, O: Copy> Ends<S, O> {
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The subscriptions of one of the filters that are not shared.
    pub fn targets(&self, reach: Reach) -> &[Target<S, O>] {
        match self {
            Self::One(target, at) if *at == reach => std::slice::from_ref(target),
            Self::None | Self::One(..) => &[],
            Self::Many(lists) => &lists.roster(reach).targets,
        }
    }

    /// The options of one subscription that is not shared.
    pub fn option_of(&self, reach: Reach, subscriber: S) -> Option<O> {
        match self {
            Self::Many(lists) => lists.roster(reach).option_of(subscriber),
            _ => self
                .targets(reach)
                .iter()
                .find(|target| target.subscriber == subscriber)
                .map(|target| target.options),
        }
    }

    /// The shared subscriptions of both filters.
    pub fn shares(&self) -> &[(ShareId, Reach)] {
        match self {
            Self::Many(lists) => &lists.shares,
            _ => &[],
        }
    }

    /// The options that this replaces.
    pub fn insert(&mut self, reach: Reach, target: Target<S, O>) -> Option<O> {
        match self {
            Self::None => {
                *self = Self::One(target, reach);
                None
            }
            Self::One(one, at) if *at == reach && one.subscriber == target.subscriber => {
                Some(std::mem::replace(&mut one.options, target.options))
            }
            Self::One(..) | Self::Many(_) => self.lists().roster_mut(reach).insert(target),
        }
    }

    pub fn remove(&mut self, reach: Reach, subscriber: S) -> Option<O> {
        match self {
            Self::One(target, at) if *at == reach && target.subscriber == subscriber => {
                let options = target.options;
                *self = Self::None;
                Some(options)
            }
            Self::None | Self::One(..) => None,
            Self::Many(lists) => {
                let options = lists.roster_mut(reach).remove(subscriber)?;
                self.simplify();
                Some(options)
            }
        }
    }

    pub fn insert_share(&mut self, reach: Reach, id: ShareId) {
        self.lists().shares.push((id, reach));
    }

    pub fn remove_share(&mut self, id: ShareId) {
        if let Self::Many(lists) = self {
            lists.shares.retain(|(present, _)| *present != id);
            lists.shares.shrink_to(lists.shares.len() * 2);
            self.simplify();
        }
    }

    /// As lists, whatever it was.
    fn lists(&mut self) -> &mut Lists<S, O> {
        if !matches!(self, Self::Many(_)) {
            let lists = Lists { here: Roster::new(), below: Roster::new(), shares: Vec::new() };
            let before = std::mem::replace(self, Self::Many(Box::new(lists)));
            if let Self::One(target, reach) = before {
                self.insert(reach, target);
            }
        }
        match self {
            Self::Many(lists) => lists,
            Self::None | Self::One(..) => unreachable!("made into lists above"),
        }
    }

    /// Gives the lists up if what is left does without.
    fn simplify(&mut self) {
        let Self::Many(lists) = self else { return };
        if !lists.shares.is_empty() {
            return;
        }
        match (&lists.here.targets[..], &lists.below.targets[..]) {
            ([], []) => *self = Self::None,
            (&[one], []) => *self = Self::One(one, Reach::Here),
            ([], &[one]) => *self = Self::One(one, Reach::Below),
            _ => {}
        }
    }
}

impl<S, O> Lists<S, O> {
    fn roster(&self, reach: Reach) -> &Roster<S, O> {
        match reach {
            Reach::Here => &self.here,
            Reach::Below => &self.below,
        }
    }

    fn roster_mut(&mut self, reach: Reach) -> &mut Roster<S, O> {
        match reach {
            Reach::Here => &mut self.here,
            Reach::Below => &mut self.below,
        }
    }
}

/// Subscriptions of one filter, at most one of each session; all in constant time, however many there are.
#[derive(Debug)]
pub(crate) struct Roster<S, O> {
    targets: Vec<Target<S, O>>,
    /// Where each stands in `targets`, once there are too many to look through.
    places: Option<Box<Places<S>>>,
}

/// Apart, so that the many short rosters do not carry its size.
#[derive(Debug)]
struct Places<S>(HashMap<S, u32>);

/// From how many subscriptions on their places are kept.
const MANY: usize = 32;

impl<S: Copy + Eq + Hash, O: Copy> Roster<S, O> {
    pub const fn new() -> Self {
        Self { targets: Vec::new(), places: None }
    }

    pub fn targets(&self) -> &[Target<S, O>] {
        &self.targets
    }

    pub fn option_of(&self, subscriber: S) -> Option<O> {
        self.place(subscriber).map(|place| self.targets[place].options)
    }

    /// The options that this replaces.
    pub fn insert(&mut self, target: Target<S, O>) -> Option<O> {
        if let Some(place) = self.place(target.subscriber) {
            return Some(std::mem::replace(&mut self.targets[place].options, target.options));
        }
        if let Some(places) = &mut self.places {
            places.0.insert(target.subscriber, self.targets.len() as u32);
        }
        if self.targets.is_empty() {
            self.targets.reserve_exact(2); // Vec would begin with four.
        }
        self.targets.push(target);
        if self.targets.len() == MANY && self.places.is_none() {
            let places =
                self.targets.iter().enumerate().map(|(place, target)| (target.subscriber, place as u32));
            self.places = Some(Box::new(Places(places.collect())));
        }
        None
    }

    /// The last takes the place of the one that goes.
    pub fn remove(&mut self, subscriber: S) -> Option<O> {
        let place = self.place(subscriber)?;
        let removed = self.targets.swap_remove(place);
        if let Some(places) = &mut self.places {
            places.0.remove(&subscriber);
            if let Some(moved) = self.targets.get(place) {
                places.0.insert(moved.subscriber, place as u32);
            }
        }
        if self.targets.len() < MANY / 2 {
            self.places = None;
        }
        self.shrink();
        Some(removed.options)
    }

    fn place(&self, subscriber: S) -> Option<usize> {
        match &self.places {
            Some(places) => places.0.get(&subscriber).map(|place| *place as usize),
            None => self.targets.iter().position(|target| target.subscriber == subscriber),
        }
    }

    /// Gives memory back once three quarters are unused, so that each removal pays for a constant part of it.
    fn shrink(&mut self) {
        let len = self.targets.len();
        if len < self.targets.capacity() / 4 {
            self.targets.shrink_to(len * 2);
            if let Some(places) = &mut self.places {
                places.0.shrink_to(len * 2);
            }
        }
    }
}
