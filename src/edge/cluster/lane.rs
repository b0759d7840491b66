//! Messages that wait for an answer of the shared store.

use std::sync::Arc;

use rand::seq::SliceRandom;

use crate::cluster::asking::{self, Answer, Question};
use crate::config::checked::AGENTS;
use crate::edge::engine::Engine;
use crate::edge::hands::on_this_thread;
use crate::transport::flow::Flow;

use super::Cluster;

/// Puts a message aside until its question is answered; then it is dealt with as if it had just come. When too many wait it is
/// dealt with by what the edge knows itself: later too, for the core is still at work on it.
pub fn put_aside(engine: &Arc<Engine>, cluster: &Arc<Cluster>, question: Question, bytes: &[u8], flow: Flow) {
    let permit = Arc::clone(&cluster.asking).try_acquire_owned();
    let (engine, own, bytes) = (Arc::clone(engine), Arc::clone(cluster), bytes.to_vec());
    cluster.thread.spawn(async move {
        let answer = match &permit {
            Ok(_) => answered(&own, question).await,
            Err(_) => Answer::Away,
        };
        drop(permit);
        deal_with(&engine, answer, &bytes, flow);
    });
}

/// Deals with a message whose answer is there.
fn deal_with(engine: &Arc<Engine>, answer: Answer, bytes: &[u8], flow: Flow) {
    asking::with_answer(answer, || on_this_thread(engine, |core, index| core.receive(bytes, flow, index)));
}

async fn answered(cluster: &Cluster, question: Question) -> Answer {
    match question {
        Question::Seat { key, mut nodes } => {
            // The first of equals is taken, so that which one is first is left to chance.
            nodes.shuffle(&mut rand::rng());
            match cluster.shared.seat(key.0, &cluster.edge, &nodes).await {
                Ok(Some((_, node))) => Answer::Node(node),
                Ok(None) => Answer::Full,
                Err(_) => Answer::Away,
            }
        }
        Question::Gate { user, key, must_be_free, token } => {
            let seat = (key.0, &*cluster.edge, AGENTS);
            match cluster.shared.gate(&user, seat, must_be_free, token).await {
                Ok(is_let_through) => Answer::Gate(is_let_through),
                Err(_) => Answer::Away,
            }
        }
    }
}
