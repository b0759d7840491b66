//! Questions that a message has to wait for.
//!
//! Where several edges choose as one, a new call may need an answer from the store that they share. The thread that carries it does not wait:
//! the core comes to the place where it needs the answer, the question is noted here, nothing is done for the message, and the message is
//! put aside. When the answer is there the same message is given to the core again, which finds the answer here.

use std::cell::{Cell, RefCell};

use crate::calls::CallKey;
use crate::store::redis::Seatable;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which of these nodes gets a call.
    Seat {
        /// The call.
        key: CallKey,
        /// The nodes that may take it.
        nodes: Vec<Seatable>,
    },
    /// Whether a call may go to an agent.
    Gate {
        /// The agent.
        user: Vec<u8>,
        /// The call.
        key: CallKey,
        /// Whether he has to be free.
        must_be_free: bool,
        /// What the call shows of a reservation.
        token: Option<u64>,
    },
}

/// What the answer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This node; the place on it is taken in the shared store.
    Node(String),
    /// Every node is full.
    Full,
    /// Whether the call may go to the agent.
    Gate(bool),
    /// There was none: the edge goes by what it knows itself.
    Away,
}

thread_local! {
    static QUESTION: RefCell<Option<Question>> = const { RefCell::new(None) };
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
    static IS_AGAIN: Cell<bool> = const { Cell::new(false) };
}

/// Notes what the message at hand has to wait for.
pub fn ask(question: Question) {
    QUESTION.set(Some(question));
}

/// What the message that was just dealt with has to wait for.
pub fn take_question() -> Option<Question> {
    QUESTION.take()
}

/// Deals with a message again, now that there is an answer.
pub fn with_answer(answer: Answer, act: impl FnOnce()) {
    ANSWER.set(Some(answer));
    IS_AGAIN.set(true);
    act();
    IS_AGAIN.set(false);
    ANSWER.set(None);
    // Whatever is asked a second time is answered from what the edge knows.
    QUESTION.set(None);
}

/// The answer to what the message at hand waited for. It is taken once.
pub fn take_answer() -> Option<Answer> {
    ANSWER.take()
}

/// True while a message is dealt with again: what it proved the first time it need not prove anew.
pub fn is_again() -> bool {
    IS_AGAIN.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_for_one_message_and_once() {
        assert_eq!((take_answer(), is_again()), (None, false));
        with_answer(Answer::Full, || {
            assert!(is_again());
            assert_eq!(take_answer(), Some(Answer::Full));
            assert_eq!(take_answer(), None);
        });
        assert_eq!((take_answer(), is_again()), (None, false));
    }

    #[test]
    fn a_question_is_taken_once() {
        ask(Question::Gate { user: b"1001".to_vec(), key: CallKey(1), must_be_free: true, token: None });
        assert!(take_question().is_some());
        assert!(take_question().is_none());
    }
}
