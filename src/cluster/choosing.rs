//! The two questions that need one step over all edges: which node gets a call, and whether an agent is free for it.

use crate::agents::Book;
use crate::agents::book::Offer;
use crate::dispatch::board::NoSeatWhy;
use crate::dispatch::{NoSeat, Pick, Picked};
use crate::moment::Moment;
use crate::proxy::contract::Offered;
use crate::store::redis::Seatable;

use super::among::Here;
use super::asking::{self, Answer, Question};
use super::hearing::node_named;

/// Nodes that a choice over all edges is made from: the best by what this edge knows.
const NODES_MAX: usize = 64;

/// Chooses over the calls of all edges: by the answer when it is there, by asking when the store can be asked, otherwise by what
/// this edge knows.
pub fn take_of_all<H: Here>(here: &H, pick: Pick<'_>, can_ask: bool) -> Result<Picked, NoSeat> {
    match asking::take_answer() {
        Some(Answer::Node(name)) => {
            let node = here.with_farm(|farm| node_named(farm, &name));
            here.with_board(|board| match node {
                Some(node) => board.take_chosen(node, pick),
                None => board.take(pick),
            })
        }
        Some(Answer::Full) => Err(here.with_board(|board| board.no_seat(pick, NoSeatWhy::Full))),
        None if can_ask && is_worth_asking(pick) => ask_for_seat(here, pick),
        _ => here.with_board(|board| board.take(pick)),
    }
}

/// Only a new call is worth a question; a second try goes by what is known.
fn is_worth_asking(pick: Pick<'_>) -> bool {
    !asking::is_again() && pick.prefer.is_none() && pick.avoid.is_empty()
}

fn ask_for_seat<H: Here>(here: &H, pick: Pick<'_>) -> Result<Picked, NoSeat> {
    here.with_farm(|farm| {
        here.with_board(|board| {
            let nodes = board.seatables(pick, NODES_MAX);
            let named = nodes.iter().filter_map(|one| {
                Some(Seatable {
                    node: farm.node(one.node)?.name.to_string(),
                    weight: one.weight_64ths,
                    calls_max: one.max_calls.unwrap_or(0),
                    tier: one.tier,
                })
            });
            let nodes: Vec<Seatable> = named.collect();
            if nodes.is_empty() {
                return board.take(pick);
            }
            asking::ask(Question::Seat { key: pick.key, nodes });
            Err(board.no_seat(pick, NoSeatWhy::Asked))
        })
    })
}

/// Lets a call through to an agent, or not: by the answer when it is there, by asking when the store can be asked, otherwise by what
/// this edge knows.
pub fn offered(book: &mut Book, offer: Offer<'_>, now: Moment, can_ask: bool) -> Offered {
    match asking::take_answer() {
        Some(Answer::Gate(false)) => Offered::Refused,
        None if can_ask && !asking::is_again() => {
            if !book.would_take(offer, now) {
                return Offered::Refused;
            }
            let (user, must_be_free) = (offer.aor.as_bytes().to_vec(), offer.must_be_free());
            asking::ask(Question::Gate { user, key: offer.key, must_be_free, token: offer.reservation });
            Offered::Asked
        }
        _ if book.offer(offer, now) => Offered::LetThrough,
        _ => Offered::Refused,
    }
}
