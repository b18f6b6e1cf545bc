//! Whether credentials are good, where that takes time to find out: passwords and signatures, in a thread for each, and
//! services that are asked.
//!
//! All have a bound. What goes beyond is answered at once: nobody knows. So a flood of wrong credentials keeps one
//! thread busy, which is worth less to the kernel than a core, and holds up no request whose credentials were seen
//! before.

use std::rc::Rc;
use std::sync::Arc;

use flume::Receiver;
use smol::LocalExecutor;
use smol::lock::Semaphore;

use super::checks::SlowChecks;
use super::current::Current;
use super::service;
use crate::io::signal::Mailbox;
use crate::policy::gate::{Answer, AuthQuestion, CheckKind};
use crate::proxy::{AnswerSlot, Command};

/// Questions to services that are under way at a time.
const SERVICES: usize = 256;

/// A question, and where the answer goes.
pub type PendingQuestion = (Arc<AuthQuestion>, AnswerSlot);

/// Answers questions until nobody can ask any more.
pub async fn answer(
    questions: Receiver<PendingQuestion>,
    mailboxes: Vec<Mailbox<Command>>,
    current: Rc<Current>,
) {
    let (mut passwords, mut signatures) = (None, None);
    let asking = Semaphore::new(SERVICES);
    let executor = LocalExecutor::new();
    let taking = async {
        while let Ok((question, slot)) = questions.recv_async().await {
            if let Some(check) = question.slow_check() {
                let checks = match check.kind {
                    CheckKind::Password => &mut passwords,
                    CheckKind::Signature => &mut signatures,
                };
                *checks = checks.take().or_else(|| SlowChecks::start(check.kind, &mailboxes));
                match checks {
                    Some(checks) => checks.ask(check, (Arc::clone(&question), slot)),
                    None => tell(&mailboxes, &slot, Answer::Unavailable),
                }
                continue;
            }
            let Some(permit) = asking.try_acquire() else {
                tell(&mailboxes, &slot, Answer::Unavailable);
                continue;
            };
            let (mailboxes, runtime) = (&mailboxes, current.get());
            let task = executor.spawn(async move {
                let _permit = permit;
                tell(mailboxes, &slot, service::ask(&question, &runtime).await);
            });
            task.detach(); // it ends with the executor
        }
    };
    executor.run(taking).await;
}

/// Whoever waits for the answer may have gone; its core is told that there is one.
pub fn tell(mailboxes: &[Mailbox<Command>], slot: &AnswerSlot, answer: Answer) {
    let _ = slot.reply.try_send(answer);
    mailboxes.get(slot.core).map(|mailbox| mailbox.send(Command::Answered));
}
