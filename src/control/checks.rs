//! Checks of credentials that are slow on purpose, or slow enough: hashes of passwords, and signatures. One thread each
//! does them, one after another, and which is next matters: clients take turns, and those whose credentials were wrong
//! come last. So a client that guesses many passwords waits behind one that logs in once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use flume::Sender;

use super::questions::{PendingQuestion, tell};
use crate::io::signal::Mailbox;
use crate::policy::gate::{Answer, AuthQuestion, CheckKind, SlowCheck, Workspace};
use crate::policy::limit::{ClientKey, client_key};
use crate::proxy::{AnswerSlot, Command};

/// Requests that wait for the answer to one question: a browser sends several at once.
const SHARED_MOST: usize = 256;
/// Clients whose wrong credentials are remembered.
const WRONG_MOST: usize = 16 * 1024;
/// Turns that wrong credentials cost at most.
const PENALTY_MOST: u64 = 1000;
/// How much less the threads are worth than others (nice(2)).
const NICE: i32 = 10;

/// The name of a thread, and how many questions wait for it at most, however many wait for the answer to each.
fn thread_of(kind: CheckKind) -> (&'static str, usize) {
    match kind {
        CheckKind::Password => ("passwords", 64),
        CheckKind::Signature => ("signatures", 1024),
    }
}

/// Where checks of one kind are done.
pub struct SlowChecks {
    queue: Arc<Mutex<Queue>>,
    wake: Sender<()>,
    mailboxes: Vec<Mailbox<Command>>,
}

type Queue = FairQueue<Arc<AuthQuestion>, AnswerSlot>;

impl SlowChecks {
    /// Starts the thread, which ends when nobody can ask any more; `None`: there is none to be had, and that is told.
    pub fn start(kind: CheckKind, mailboxes: &[Mailbox<Command>]) -> Option<SlowChecks> {
        let (name, most) = thread_of(kind);
        let has_left = |slot: &AnswerSlot| slot.reply.is_disconnected();
        let queue = Arc::new(Mutex::new(FairQueue::new(most, has_left)));
        let (wake, woken) = flume::bounded(1);
        let (asked, mailboxes) = (Arc::clone(&queue), mailboxes.to_vec());
        let checks = SlowChecks { queue, wake, mailboxes: mailboxes.clone() };
        let work = move || {
            let _ = rustix::process::nice(NICE); // of this thread alone (sched(7))
            let mut workspace = Workspace::default();
            while woken.recv().is_ok() {
                loop {
                    let next = locked(&asked).pop();
                    let Some(Waiting { client, question, mut askers, .. }) = next else { break };
                    askers.retain(|slot| !slot.reply.is_disconnected());
                    // Nobody waits for it any more?
                    if let (Some(check), false) = (question.slow_check(), askers.is_empty()) {
                        let answer = answer(check, &mut workspace);
                        locked(&asked).checked(client, &answer);
                        tell_all(&mailboxes, &askers, &answer);
                    }
                }
            }
        };
        match thread::Builder::new().name(name.to_owned()).spawn(work) {
            Ok(_) => Some(checks),
            Err(error) => {
                tracing::error!(%error, "no {name} can be checked: no thread is to be had");
                None
            }
        }
    }

    /// Has it checked when its turn comes. Those for whom there is no room, which may be others than who asks now, are
    /// told that nobody knows.
    pub fn ask(&self, check: &SlowCheck, (question, slot): PendingQuestion) {
        let client = check.client.map_or([0; 9], client_key);
        let displaced = locked(&self.queue).push(client, question, slot);
        tell_all(&self.mailboxes, &displaced, &Answer::Unavailable);
        let _ = self.wake.try_send(()); // full: it has been woken
    }
}

/// What the check says. One that panics, which is a defect, must not take the thread with it.
fn answer(check: &SlowCheck, workspace: &mut Workspace) -> Answer {
    catch_unwind(AssertUnwindSafe(|| (check.run)(workspace))).unwrap_or_else(|_| {
        tracing::error!("a check of credentials ended in a panic, which is a defect in tidegate");
        Answer::Unavailable
    })
}

fn locked(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_all(mailboxes: &[Mailbox<Command>], slots: &[AnswerSlot], answer: &Answer) {
    for slot in slots {
        tell(mailboxes, slot, answer.clone());
    }
}

/// Questions of clients who take turns (start-time fair queueing): a client's second question has the turn after its
/// first, however many others have asked before, and wrong credentials cost further turns.
struct FairQueue<Q, W> {
    /// Questions that wait, at most.
    most: usize,
    /// How often credentials of a client were wrong since they were right.
    wrong: HashMap<ClientKey, u64>,
    /// The turn of the question that was taken last.
    turn: u64,
    questions: Vec<Waiting<Q, W>>,
    /// Whether an asker has left.
    has_left: fn(&W) -> bool,
}

struct Waiting<Q, W> {
    turn: u64,
    client: ClientKey,
    question: Q,
    /// All who asked it.
    askers: Vec<W>,
}

impl<Q: PartialEq, W> FairQueue<Q, W> {
    fn new(most: usize, has_left: fn(&W) -> bool) -> FairQueue<Q, W> {
        FairQueue { most, wrong: HashMap::new(), turn: 0, questions: Vec::new(), has_left }
    }

    /// Remembers what came of a client's question. Who has more addresses than are remembered is a newcomer each time.
    fn checked(&mut self, client: ClientKey, answer: &Answer) {
        match answer {
            Answer::Rejected(_) => {
                if self.wrong.len() == WRONG_MOST {
                    self.wrong.clear();
                }
                *self.wrong.entry(client).or_default() += 1;
            }
            Answer::Good(_) => drop(self.wrong.remove(&client)),
            Answer::Relayed(_) | Answer::Unavailable => {}
        }
    }

    /// Forgets askers who have left, and questions that nobody asks any more.
    fn purge(&mut self) {
        for one in &mut self.questions {
            one.askers.retain(|asker| !(self.has_left)(asker));
        }
        self.questions.retain(|one| !one.askers.is_empty());
    }

    /// Gives the askers back for whom there is no room. In a full queue whoever would be last makes way.
    fn push(&mut self, client: ClientKey, question: Q, asker: W) -> Vec<W> {
        let is_full = self.questions.len() == self.most;
        if is_full || self.questions.iter().any(|one| one.askers.len() == SHARED_MOST) {
            self.purge();
        }
        if let Some(same) = self.questions.iter_mut().find(|one| one.question == question) {
            if same.askers.len() == SHARED_MOST {
                return vec![asker];
            }
            same.askers.push(asker);
            return Vec::new();
        }
        let own = self.questions.iter().filter(|one| one.client == client);
        let penalty = self.wrong.get(&client).copied().unwrap_or(0).min(PENALTY_MOST);
        let turn = own.map(|one| one.turn).max().unwrap_or(self.turn) + 1 + penalty;
        let mut displaced = Vec::new();
        if self.questions.len() == self.most {
            let last = (0..self.most).max_by_key(|at| self.questions[*at].turn).unwrap_or(0);
            if self.questions[last].turn <= turn {
                return vec![asker];
            }
            displaced = self.questions.remove(last).askers;
        }
        self.questions.push(Waiting { turn, client, question, askers: vec![asker] });
        displaced
    }

    /// The next question: of those with the lowest turn the oldest.
    fn pop(&mut self) -> Option<Waiting<Q, W>> {
        let (at, _) = self.questions.iter().enumerate().min_by_key(|(_, one)| one.turn)?;
        let next = self.questions.remove(at);
        self.turn = next.turn;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::gate::Identity;

    const WAITING_MOST: usize = 64;
    const FLOOD: ClientKey = [1; 9];

    /// A queue that one client has filled.
    fn flooded() -> FairQueue<u32, u32> {
        let mut queue = FairQueue::new(WAITING_MOST, |_| false);
        for n in 0..WAITING_MOST as u32 {
            assert!(queue.push(FLOOD, n, n).is_empty());
        }
        queue
    }

    fn order(queue: &mut FairQueue<u32, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|next| next.question).collect()
    }

    #[test]
    fn who_asks_once_is_not_behind_who_asks_often() {
        let mut queue = flooded();
        assert_eq!(queue.push(FLOOD, 100, 100), [100], "it would be last itself");
        assert_eq!(queue.pop().unwrap().question, 0);
        assert!(queue.push(FLOOD, 100, 100).is_empty(), "there is room for one");
        assert_eq!(queue.push([2; 9], 200, 200), [100], "the last of the many makes way");
        assert_eq!(queue.push([2; 9], 201, 201), [63]);
        assert_eq!(queue.push([3; 9], 300, 300), [62]);
        assert_eq!(order(&mut queue)[..6], [1, 200, 300, 2, 201, 3]);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn clients_take_turns_in_the_order_in_which_they_came() {
        let mut queue = FairQueue::new(WAITING_MOST, |_| false);
        for (client, question) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (2, 21)] {
            assert!(queue.push([client; 9], question, 0).is_empty());
        }
        assert_eq!(order(&mut queue), [10, 20, 30, 11, 21, 12]);
    }

    #[test]
    fn many_clients_that_ask_once_are_served_as_they_came() {
        let mut queue = FairQueue::new(WAITING_MOST, |_| false);
        for n in 0..WAITING_MOST as u32 {
            assert!(queue.push([n as u8; 9], n, n).is_empty());
        }
        assert_eq!(queue.push([200; 9], 200, 200), [200]);
        assert_eq!(order(&mut queue), (0..WAITING_MOST as u32).collect::<Vec<_>>());
    }

    #[test]
    fn who_asks_again_and_again_has_every_other_turn() {
        let mut queue = FairQueue::new(WAITING_MOST, |_| false);
        for (client, question) in [(2, 20), (2, 21), (1, 10)] {
            assert!(queue.push([client; 9], question, 0).is_empty());
        }
        let mut served = Vec::new();
        for next in 11..15 {
            served.push(queue.pop().unwrap().question);
            assert!(queue.push([1; 9], next, 0).is_empty());
        }
        assert_eq!(served, [20, 10, 21, 11]);
    }

    #[test]
    fn who_was_wrong_makes_way_for_who_was_not() {
        let mut queue = FairQueue::new(WAITING_MOST, |_| false);
        for n in 0..WAITING_MOST as u32 {
            queue.checked([n as u8; 9], &Answer::Rejected(""));
            assert!(queue.push([n as u8; 9], n, n).is_empty());
        }
        assert_eq!(queue.push([200; 9], 200, 200), [63]);
        assert_eq!(queue.push([0; 9], 100, 100), [100], "who was wrong before does not");
        assert_eq!(queue.pop().unwrap().question, 200);
        queue.checked([1; 9], &Answer::Good(Identity::new(&"a".into(), "", vec![], vec![])));
        assert!(!queue.wrong.contains_key(&[1; 9]), "who is right is as good as new");
    }

    #[test]
    fn who_has_left_holds_no_room() {
        let mut queue = FairQueue::new(WAITING_MOST, |asker| *asker < 60);
        for n in 0..WAITING_MOST as u32 {
            assert!(queue.push([n as u8; 9], n, n).is_empty());
        }
        assert!(queue.push([200; 9], 200, 200).is_empty());
        assert_eq!(order(&mut queue), [60, 61, 62, 63, 200]);
    }

    #[test]
    fn a_question_that_waits_is_not_asked_twice() {
        let mut queue = FairQueue::new(WAITING_MOST, |_| false);
        for asker in 0..SHARED_MOST as u32 {
            assert!(queue.push([asker as u8; 9], 7, asker).is_empty());
        }
        assert_eq!(queue.push([9; 9], 7, 1000), [1000]);
        let Waiting { question, askers, .. } = queue.pop().unwrap();
        assert_eq!((question, askers.len()), (7, SHARED_MOST));
        assert!(queue.pop().is_none());
    }
}
