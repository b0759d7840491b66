//! The board: how many calls each node has, which nodes may take one more, and who takes the next.
//!
//! Choosing and taking the place are one step, so two calls at the same moment never see the same count. Places are
//! handed out as [`Seat`]s and come back as such; a node's count is the number of its seats that are out. What
//! the operator wants, what health checks found and what the node says of itself are kept apart, and only
//! [`NodeState::barred`] puts them together.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::calls::history::{Barred, CANDIDATES_MAX, Candidate, Candidates, Choice};
use crate::calls::lease::Way;
use crate::calls::{CallKey, NodeId, PoolId, Seat};
use crate::moment::Moment;

use super::health::{ClosedWhy, Verdict, warm_64ths};
use super::least_calls::LeastCalls;
use super::node::Admin;
use super::rendezvous::{self, Rendezvous};
use super::sequence::Sequence;

/// How a pool spreads its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Fewest (leases + 1) / weight.
    #[default]
    WeightedLeastCalls,
    /// In turn, by weight.
    RoundRobin,
    /// Drawn, by weight.
    Random,
    /// Weighted rendezvous hash.
    Hash,
}

impl Algorithm {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::WeightedLeastCalls => "weighted_least_calls",
            Algorithm::RoundRobin => "round_robin",
            Algorithm::Random => "random",
            Algorithm::Hash => "hash",
        }
    }
}

/// A pool as the board needs to know it.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// Its number.
    pub id: PoolId,
    /// How calls are spread.
    pub algorithm: Algorithm,
    /// Its nodes.
    pub members: Vec<MemberPlan>,
    /// The pool that serves when no node here can take the call.
    pub overflow: Option<PoolId>,
    /// Calls of one number stay on one node until its calls reach this part of `max_calls`, in percent.
    pub sticky_until_percent: Option<u8>,
    /// How long a returning node warms up.
    pub slow_start: Duration,
    /// Whether the least suspicious node is tried when all look dead.
    pub panic: bool,
}

/// A node's part in a pool.
#[derive(Clone, Copy, Debug)]
pub struct MemberPlan {
    /// The node.
    pub node: NodeId,
    /// Its weight, 1 to 1000.
    pub weight: u32,
    /// Lower ranks are used first.
    pub rank: Rank,
    /// Hash of the node's name.
    pub name_hash: u64,
}

/// Which nodes of a pool are used before which: those of the edge's own site before those of others, and of one site by priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// It stands at another site than the edge.
    pub is_far: bool,
    /// Lower ones come first.
    pub priority: u8,
}

/// A node as the board needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct NodePlan {
    /// Its number.
    pub id: NodeId,
    /// Calls that it may have at once.
    pub max_calls: Option<u32>,
}

/// What health checks say of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// Alive or not.
    pub verdict: Verdict,
    /// Its own word that it takes no calls.
    pub closed: Option<ClosedWhy>,
    /// The part of its weight that its speed leaves it, in 64ths.
    pub speed_64ths: u32,
    /// When it came up.
    pub up_since: Moment,
    /// When it last gave a sign of life.
    pub last_good: Moment,
    /// The address to use, none while its name does not resolve.
    pub way: Option<Way>,
}

impl Assessment {
    /// Of a node that nothing is known of yet.
    pub fn unknown() -> Self {
        Assessment { speed_64ths: 64, ..Assessment::default() }
    }
}

/// A call that looks for a node.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// Where to look.
    pub pool: PoolId,
    /// The call.
    pub key: CallKey,
    /// Hash of what the pool's hash or stickiness goes by.
    pub sticky: Option<u64>,
    /// The node that had this call before.
    pub prefer: Option<NodeId>,
    /// The node that has another call which this one belongs to.
    pub beside: Option<NodeId>,
    /// Nodes that were tried already.
    pub avoid: &'a [NodeId],
}

/// A node was found and its place taken.
#[derive(Debug)]
pub struct Picked {
    /// The place.
    pub seat: Seat,
    /// The way to the node.
    pub way: Way,
    /// What the choice went by.
    pub choice: Choice,
    /// The pool that it came from, which may be an overflow pool.
    pub pool: PoolId,
    /// How the pool's nodes stood.
    pub candidates: Candidates,
}

/// No node was found.
#[derive(Debug)]
pub struct NoSeat {
    /// Why.
    pub why: NoSeatWhy,
    /// How the pool's nodes stood.
    pub candidates: Box<Candidates>,
}

/// Why no node was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeatWhy {
    /// Nodes are alive but have as many calls as they may.
    Full,
    /// No node may take a call.
    NoneAlive,
    /// It is being asked for; the same message comes again when the answer is there.
    Asked,
}

/// A node that may take a call, for a choice over all edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seatable {
    /// The node.
    pub node: NodeId,
    /// Its weight in 64ths.
    pub weight_64ths: u32,
    /// Calls that it may have at once.
    pub max_calls: Option<u32>,
    /// Lower tiers are used first.
    pub tier: u32,
    /// Calls that it has, as far as this edge knows.
    pub calls: u32,
}

/// What can be read of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView {
    /// Its leases.
    pub leases: u32,
    /// Calls that other edges have on it.
    pub others: u32,
    /// Its limit.
    pub max_calls: Option<u32>,
    /// The operator's word.
    pub admin: Admin,
    /// What health checks say.
    pub assessment: Assessment,
    /// Why it takes no new call, if so.
    pub barred: Option<Barred>,
    /// The part of its weight that it has now, in 64ths.
    pub share_64ths: u32,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    nodes: Vec<Option<NodeState>>,
    pools: Vec<Option<PoolState>>,
    random: SmallRng,
}

#[derive(Debug)]
struct NodeState {
    leases: u32,
    /// Calls that other edges have on it.
    others: u32,
    max_calls: Option<u32>,
    admin: Admin,
    assessment: Assessment,
    /// The part of its weight that warming up leaves it, in 64ths.
    warm_64ths: u32,
    /// Where it stands in pools.
    places: Vec<MemberPlace>,
}

#[derive(Clone, Copy, Debug)]
struct MemberPlace {
    pool: PoolId,
    tier: u16,
    member: u32,
}

#[derive(Debug)]
struct PoolState {
    plan: PoolPlan,
    tiers: Vec<Tier>,
    /// Every key's order of preference over all nodes: where a called number has its home.
    homes: Rendezvous,
}

#[derive(Debug)]
enum Tier {
    LeastCalls(LeastCalls),
    RoundRobin(Sequence),
    Random(Sequence),
    Hash(Rendezvous),
}

/// Pools that one call may be handed on through by `overflow`.
const OVERFLOW_HOPS_MAX: usize = 4;

impl Board {
    /// An empty board. The seed decides among equals.
    pub fn new(seed: u64) -> Self {
        Board { nodes: Vec::new(), pools: Vec::new(), random: SmallRng::seed_from_u64(seed) }
    }

    /// Takes up a new configuration. Counts, operators' words and health stay with the nodes; a node that is gone
    /// keeps its count until its last call ends.
    pub fn apply(&mut self, nodes: &[NodePlan], pools: Vec<PoolPlan>, now: Moment) {
        for state in self.nodes.iter_mut().flatten() {
            state.places.clear();
        }
        for plan in nodes {
            let state = self.node_entry(plan.id);
            state.max_calls = plan.max_calls;
        }
        self.pools.iter_mut().for_each(|pool| *pool = None);
        for plan in pools {
            self.build_pool(plan);
        }
        self.warm_up(now);
        for id in 0..self.nodes.len() as u32 {
            self.refresh(NodeId(id));
        }
    }

    fn node_entry(&mut self, id: NodeId) -> &mut NodeState {
        let at = id.0 as usize;
        if self.nodes.len() <= at {
            self.nodes.resize_with(at + 1, || None);
        }
        self.nodes[at].get_or_insert_with(|| NodeState {
            leases: 0,
            others: 0,
            max_calls: None,
            admin: Admin::Enabled,
            assessment: Assessment::unknown(),
            warm_64ths: 64,
            places: Vec::new(),
        })
    }

    fn build_pool(&mut self, plan: PoolPlan) {
        let mut ranks: Vec<Rank> = plan.members.iter().map(|m| m.rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let mut tiers = Vec::new();
        for (tier, rank) in ranks.iter().enumerate() {
            for (member, part) in plan.members.iter().enumerate().filter(|(_, part)| part.rank == *rank) {
                let place = MemberPlace { pool: plan.id, tier: tier as u16, member: member as u32 };
                self.node_entry(part.node).places.push(place);
            }
            tiers.push(build_tier(&plan, *rank));
        }
        // A number is at home at the own site, if that has a node.
        let has_near = plan.members.iter().any(|member| !member.rank.is_far);
        let homes = Rendezvous::new(hash_members(&plan, |member| !(has_near && member.rank.is_far)));
        let at = plan.id.0 as usize;
        if self.pools.len() <= at {
            self.pools.resize_with(at + 1, || None);
        }
        self.pools[at] = Some(PoolState { plan, tiers, homes });
    }

    /// Notes what the operator wants of a node.
    pub fn set_admin(&mut self, node: NodeId, admin: Admin) {
        self.node_entry(node).admin = admin;
        self.refresh(node);
    }

    /// Notes what health checks say of a node.
    pub fn assess(&mut self, node: NodeId, assessment: Assessment, now: Moment) {
        if self.node(node).is_some_and(|state| state.assessment == assessment) {
            return;
        }
        self.node_entry(node).assessment = assessment;
        self.warm_node(node, now);
        self.refresh(node);
    }

    /// Moves warming nodes on. To be called a few times a second.
    pub fn warm_up(&mut self, now: Moment) {
        for id in 0..self.nodes.len() as u32 {
            if self.warm_node(NodeId(id), now) {
                self.refresh(NodeId(id));
            }
        }
    }

    /// Recomputes how warm a node is; true when that changed.
    fn warm_node(&mut self, node: NodeId, now: Moment) -> bool {
        let Some(state) = self.node(node) else { return false };
        let slow_start = state.places.iter().filter_map(|place| self.pool(place.pool)).map(|p| p.plan.slow_start).max();
        let since = state.assessment.up_since;
        let warm = match slow_start {
            Some(slow_start) if state.assessment.verdict == Verdict::Up && since > Moment::ZERO => {
                warm_64ths(now.since(since), slow_start)
            }
            _ => 64,
        };
        let state = self.node_entry(node);
        let changed = state.warm_64ths != warm;
        state.warm_64ths = warm;
        changed
    }

    /// Takes a place on the best node for a call.
    pub fn take(&mut self, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        if let Some(node) = pick.prefer.filter(|node| self.may_take(*node, pick.avoid)) {
            return Ok(self.seat(node, Choice::Affinity, pick.pool, pick.avoid));
        }
        if let Some((node, pool)) = pick.beside.and_then(|node| self.joined(node, pick)) {
            return Ok(self.seat(node, Choice::AgentAffinity, pool, pick.avoid));
        }
        let (mut pool, mut any_full) = (pick.pool, false);
        for _ in 0..OVERFLOW_HOPS_MAX {
            if let Some((node, choice)) = self.choose(pool, pick) {
                return Ok(self.seat(node, choice, pool, pick.avoid));
            }
            any_full |= self.has_full_node(pool);
            let Some(next) = self.pool(pool).and_then(|state| state.plan.overflow) else { break };
            pool = next;
        }
        let why = if any_full { NoSeatWhy::Full } else { NoSeatWhy::NoneAlive };
        match self.least_suspicious(pick).filter(|_| !any_full) {
            Some(node) => Ok(self.seat(node, Choice::Panic, pick.pool, pick.avoid)),
            None => Err(NoSeat { why, candidates: Box::new(self.candidates(pick.pool, None, pick.avoid)) }),
        }
    }

    /// The pool by which a call may join one that its node has already, if it may: a node that drains takes it, since it has
    /// come for what is there; a full one does not. Nobody is led out of the pools that serve him.
    fn joined(&self, node: NodeId, pick: Pick<'_>) -> Option<(NodeId, PoolId)> {
        let state = self.node(node).filter(|state| state.may_be_joined() && !pick.avoid.contains(&node))?;
        let mut pool = pick.pool;
        for _ in 0..OVERFLOW_HOPS_MAX {
            if state.places.iter().any(|place| place.pool == pool) {
                return Some((node, pool));
            }
            pool = self.pool(pool)?.plan.overflow?;
        }
        None
    }

    /// Takes a place on a certain node, whatever its state: the call is there already.
    pub fn take_on(&mut self, node: NodeId) -> Seat {
        self.node_entry(node).leases += 1;
        self.refresh(node);
        Seat::taken(node)
    }

    /// Takes a place on a node that was chosen elsewhere, over the calls of all edges.
    pub fn take_chosen(&mut self, node: NodeId, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        if self.node(node).is_none_or(|state| state.assessment.way.is_none()) {
            return self.take(pick);
        }
        Ok(self.seat(node, Choice::LeastCalls, pick.pool, pick.avoid))
    }

    /// Nobody gets a place now.
    pub fn no_seat(&self, pick: Pick<'_>, why: NoSeatWhy) -> NoSeat {
        NoSeat { why, candidates: Box::new(self.candidates(pick.pool, None, pick.avoid)) }
    }

    /// The nodes that a choice over all edges is made from, when it goes by the fewest calls: those that may take the call, with their
    /// weights in 64ths, their limits and their tiers, in the order in which they would be taken; at most `most`.
    pub fn seatables(&self, pick: Pick<'_>, most: usize) -> Vec<Seatable> {
        let (mut list, mut pool, mut tiers) = (Vec::new(), Some(pick.pool), 0);
        for _ in 0..OVERFLOW_HOPS_MAX {
            let Some(state) = pool.and_then(|pool| self.pool(pool)) else { break };
            if state.plan.algorithm != Algorithm::WeightedLeastCalls || state.plan.sticky_until_percent.is_some() {
                break;
            }
            self.seatables_of(state, tiers, pick.avoid, &mut list);
            (tiers, pool) = (tiers + state.tiers.len() as u32, state.plan.overflow);
        }
        let load = |one: &Seatable| f64::from(one.calls + 1) / f64::from(one.weight_64ths);
        list.sort_by(|a, b| a.tier.cmp(&b.tier).then(load(a).total_cmp(&load(b))));
        list.truncate(most);
        list
    }

    fn seatables_of(&self, state: &PoolState, tiers: u32, avoid: &[NodeId], list: &mut Vec<Seatable>) {
        for (member, part) in state.plan.members.iter().enumerate() {
            let Some(node) = self.node(part.node).filter(|_| self.may_take(part.node, avoid)) else { continue };
            let place = node.places.iter().find(|place| place.pool == state.plan.id && place.member as usize == member);
            list.push(Seatable {
                node: part.node,
                weight_64ths: part.weight * node.share_64ths(),
                max_calls: node.max_calls,
                tier: tiers + place.map_or(0, |place| u32::from(place.tier)),
                calls: node.calls(),
            });
        }
    }

    /// Notes how many calls other edges have on a node.
    pub fn set_others(&mut self, node: NodeId, others: u32) {
        if self.node(node).is_some_and(|state| state.others != others) {
            self.node_entry(node).others = others;
            self.refresh(node);
        }
    }

    /// Takes a place back.
    pub fn give_back(&mut self, seat: Seat) {
        let state = self.node_entry(seat.node());
        debug_assert!(state.leases > 0, "a seat was counted when it was taken");
        state.leases = state.leases.saturating_sub(1);
        self.refresh(seat.node());
    }

    /// What is known of a node.
    pub fn view(&self, node: NodeId) -> Option<NodeView> {
        self.node(node).map(|state| NodeView {
            leases: state.leases,
            others: state.others,
            max_calls: state.max_calls,
            admin: state.admin,
            assessment: state.assessment,
            barred: state.barred(),
            share_64ths: state.share_64ths(),
        })
    }

    /// True when at least one node of the pool may take a call.
    pub fn has_taker(&self, pool: PoolId) -> bool {
        self.members(pool).any(|node| self.may_take(node, &[]))
    }

    /// True when every node of the pool that the operator enabled looks dead.
    pub fn looks_dead(&self, pool: PoolId) -> bool {
        let enabled = self.members(pool).filter_map(|node| self.node(node)).filter(|s| s.admin == Admin::Enabled);
        let mut any = false;
        for state in enabled {
            any = true;
            if state.assessment.verdict != Verdict::Down {
                return false;
            }
        }
        any
    }

    /// One node of a pool for a request that opens no call: by rendezvous over a key, so that its repetitions find the
    /// same node without being remembered.
    pub fn home_of(&self, pool: PoolId, key: u64) -> Option<(NodeId, Way)> {
        let state = self.pool(pool)?;
        let node_of = |member: u32| state.plan.members[member as usize].node;
        let node = node_of(state.homes.choose(key, |member| self.may_take(node_of(member), &[]))?);
        self.node(node).and_then(|state| state.assessment.way).map(|way| (node, way))
    }

    /// Checks that nobody stands where he may not. For tests and simulations.
    pub fn check_invariants(&self) {
        for (id, state) in self.nodes.iter().enumerate().filter_map(|(i, s)| s.as_ref().map(|s| (i, s))) {
            if let Some(max) = state.max_calls
                && state.leases >= max
            {
                assert!(state.barred().is_some(), "node {id} is full and still takes calls");
            }
        }
    }

    fn node(&self, id: NodeId) -> Option<&NodeState> {
        self.nodes.get(id.0 as usize).and_then(Option::as_ref)
    }

    fn pool(&self, id: PoolId) -> Option<&PoolState> {
        self.pools.get(id.0 as usize).and_then(Option::as_ref)
    }

    fn members(&self, pool: PoolId) -> impl Iterator<Item = NodeId> {
        self.pool(pool).into_iter().flat_map(|state| state.plan.members.iter().map(|part| part.node))
    }

    fn may_take(&self, node: NodeId, avoid: &[NodeId]) -> bool {
        !avoid.contains(&node) && self.node(node).is_some_and(|state| state.barred().is_none())
    }

    fn has_full_node(&self, pool: PoolId) -> bool {
        self.members(pool).filter_map(|node| self.node(node)).any(|state| state.barred() == Some(Barred::Full))
    }

    fn choose(&mut self, pool: PoolId, pick: Pick<'_>) -> Option<(NodeId, Choice)> {
        if let Some(home) = self.home(pool, pick) {
            return Some((home, Choice::Sticky));
        }
        let tiers = self.pool(pool)?.tiers.len();
        (0..tiers).find_map(|tier| self.choose_in_tier(pool, tier, pick))
    }

    /// The home of the called number, unless it has as many calls as stickiness allows.
    fn home(&self, pool: PoolId, pick: Pick<'_>) -> Option<NodeId> {
        let state = self.pool(pool)?;
        let (percent, key) = (state.plan.sticky_until_percent?, pick.sticky?);
        let member = state.homes.choose(key, |member| {
            let node = state.plan.members[member as usize].node;
            let full = |s: &NodeState| {
                s.max_calls.is_some_and(|max| u64::from(s.calls()) * 100 >= u64::from(max) * u64::from(percent))
            };
            self.may_take(node, pick.avoid) && !self.node(node).is_some_and(full)
        })?;
        Some(state.plan.members[member as usize].node)
    }

    fn choose_in_tier(&mut self, pool: PoolId, tier: usize, pick: Pick<'_>) -> Option<(NodeId, Choice)> {
        let (random, thin) = (self.random.next_u32(), self.random.random_range(0..64));
        // The tier is borrowed apart from the nodes that decide who may take the call.
        let Board { nodes, pools, .. } = self;
        let PoolState { plan, tiers, .. } = pools.get_mut(pool.0 as usize)?.as_mut()?;
        let node_of = |member: u32| plan.members[member as usize].node;
        let state_of = |member: u32| nodes.get(node_of(member).0 as usize).and_then(Option::as_ref);
        let may = |member: u32| {
            !pick.avoid.contains(&node_of(member)) && state_of(member).is_some_and(|s| s.barred().is_none())
        };
        // A node with half its share is passed over every other time.
        let may_thinned = |member: u32| may(member) && state_of(member).is_some_and(|s| thin < s.share_64ths());
        let (member, choice) = match &mut tiers[tier] {
            Tier::LeastCalls(least) => (choose_least(least, random, may), Choice::LeastCalls),
            Tier::RoundRobin(sequence) => {
                (sequence.next(may_thinned).or_else(|| sequence.next(may)), Choice::RoundRobin)
            }
            Tier::Random(sequence) => {
                (sequence.random(random, may_thinned).or_else(|| sequence.random(random, may)), Choice::Random)
            }
            Tier::Hash(table) => (table.choose(pick.sticky.unwrap_or(pick.key.0 as u64), may), Choice::Hash),
        };
        member.map(|member| (node_of(member), choice))
    }

    /// When no node of a pool seems alive, the enabled one that gave the latest sign of life.
    fn least_suspicious(&mut self, pick: Pick<'_>) -> Option<NodeId> {
        let mut pool = pick.pool;
        for _ in 0..OVERFLOW_HOPS_MAX {
            let state = self.pool(pool)?;
            if state.plan.panic && self.looks_dead(pool) {
                let able = |node: &NodeId| {
                    let open = |s: &NodeState| s.admin == Admin::Enabled && !s.is_full() && s.assessment.way.is_some();
                    !pick.avoid.contains(node) && self.node(*node).is_some_and(open)
                };
                let last_good = |node: &NodeId| self.node(*node).map(|s| s.assessment.last_good);
                let best = self.members(pool).filter(able).max_by_key(last_good);
                if best.is_some() {
                    return best;
                }
            }
            pool = state.plan.overflow?;
        }
        None
    }

    fn seat(&mut self, node: NodeId, choice: Choice, pool: PoolId, avoid: &[NodeId]) -> Picked {
        let candidates = self.candidates(pool, Some(node), avoid);
        let seat = self.take_on(node);
        // Nobody without an address is ever chosen.
        let way = self.node(node).and_then(|state| state.assessment.way).expect("a chosen node has an address");
        Picked { seat, way, choice, pool, candidates }
    }

    /// The chosen node first, then the pool's others in the order of the configuration.
    fn candidates(&self, pool: PoolId, chosen: Option<NodeId>, avoid: &[NodeId]) -> Candidates {
        let Some(state) = self.pool(pool) else { return Candidates::default() };
        let mut list = Candidates::of_pool(state.plan.members.len() as u32);
        // Found by the node's own list of places: a pool may have a thousand members.
        let places = chosen.and_then(|node| self.node(node)).map_or(&[][..], |node| &node.places);
        let own = places.iter().find(|place| place.pool == pool).map(|place| place.member as usize);
        let others = (0..state.plan.members.len()).filter(|member| Some(*member) != own);
        for member in own.into_iter().chain(others).take(CANDIDATES_MAX) {
            let part = &state.plan.members[member];
            let Some(node) = self.node(part.node) else { continue };
            let tried = avoid.contains(&part.node).then_some(Barred::Tried);
            list.push(Candidate {
                node: part.node,
                leases: node.calls(),
                weight_64ths: part.weight * node.share_64ths(),
                barred: tried.or_else(|| node.barred()),
            });
        }
        list
    }

    /// Brings a node's places up to date after anything about it changed.
    fn refresh(&mut self, node: NodeId) {
        let Board { nodes, pools, .. } = self;
        let Some(state) = nodes.get(node.0 as usize).and_then(Option::as_ref) else { return };
        let open = state.barred().is_none();
        for place in &state.places {
            let Some(pool) = pools.get_mut(place.pool.0 as usize).and_then(Option::as_mut) else { continue };
            if let Tier::LeastCalls(least) = &mut pool.tiers[place.tier as usize] {
                if open {
                    let weight = pool.plan.members[place.member as usize].weight * state.share_64ths();
                    least.put(place.member, state.calls(), weight);
                } else {
                    least.take_out(place.member);
                }
            }
        }
    }
}

/// The least loaded who may take the call; those who may not, because they were tried, step aside for the while.
fn choose_least(least: &mut LeastCalls, random: u32, may: impl Fn(u32) -> bool) -> Option<u32> {
    let first = least.choose(random)?;
    if may(first) {
        return Some(first);
    }
    let (mut aside, mut found, mut next) = (Vec::new(), None, Some(first));
    while let Some(member) = next {
        if may(member) {
            found = Some(member);
            break;
        }
        aside.extend(least.take_out(member).map(|(leases, weight)| (member, leases, weight)));
        next = least.choose(random);
    }
    aside.into_iter().for_each(|(member, leases, weight)| least.put(member, leases, weight));
    found
}

fn build_tier(plan: &PoolPlan, rank: Rank) -> Tier {
    let weights = || -> Vec<(u32, u32)> {
        let parts = plan.members.iter().enumerate().filter(|(_, part)| part.rank == rank);
        parts.map(|(member, part)| (member as u32, part.weight)).collect()
    };
    match plan.algorithm {
        Algorithm::WeightedLeastCalls => Tier::LeastCalls(LeastCalls::default()),
        Algorithm::RoundRobin => Tier::RoundRobin(Sequence::new(&weights())),
        Algorithm::Random => Tier::Random(Sequence::new(&weights())),
        Algorithm::Hash => Tier::Hash(Rendezvous::new(hash_members(plan, |part| part.rank == rank))),
    }
}

fn hash_members(plan: &PoolPlan, keep: impl Fn(&MemberPlan) -> bool) -> Vec<rendezvous::Member> {
    let parts = plan.members.iter().enumerate().filter(|(_, part)| keep(part));
    parts
        .map(|(number, part)| rendezvous::Member {
            number: number as u32,
            weight: part.weight,
            name_hash: part.name_hash,
        })
        .collect()
}

impl NodeState {
    /// Why it takes no new call: the one place where operator, health, announcement and limit come together.
    fn barred(&self) -> Option<Barred> {
        if self.admin != Admin::Enabled || self.places.is_empty() {
            return Some(Barred::Admin);
        }
        if self.assessment.verdict == Verdict::Down || self.assessment.way.is_none() {
            return Some(Barred::Down);
        }
        if self.assessment.closed.is_some() {
            return Some(Barred::Closed);
        }
        self.is_full().then_some(Barred::Full)
    }

    /// Calls that it has, over all edges.
    fn calls(&self) -> u32 {
        self.leases.saturating_add(self.others)
    }

    /// True when it can take a call that belongs to one of its own.
    fn may_be_joined(&self) -> bool {
        let is_there = self.admin != Admin::Disabled && self.assessment.verdict != Verdict::Down;
        is_there && self.assessment.way.is_some() && self.assessment.closed.is_none() && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.max_calls.is_some_and(|max| self.calls() >= max)
    }

    fn share_64ths(&self) -> u32 {
        self.warm_64ths.min(self.assessment.speed_64ths).max(1)
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
