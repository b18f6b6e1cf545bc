//! Whether credentials are good, where that takes time to find out: passwords, in a thread of their own, and services
//! that are asked.
//!
//! Both have a bound. What goes beyond is answered at once: nobody knows. So a flood of wrong passwords keeps one
//! thread busy, which is worth less to the kernel than a core, and holds up no request whose credentials were seen
//! before.

use std::sync::Arc;

use flume::Receiver;
use futures_lite::FutureExt;
use smol::LocalExecutor;
use smol::lock::Semaphore;

use super::passwords::PasswordChecks;
use crate::client::{self, Question};
use crate::config::{AuthKind, ForwardAuthSpec};
use crate::http::{Method, Reply, grammar};
use crate::io::signal::Mailbox;
use crate::policy::gate::{Answer, Asked, AuthQuestion};
use crate::proxy::{AnswerSlot, Command};
use crate::upstream::resolve::resolve;

/// Questions to services that are under way at a time.
const SERVICES: usize = 256;
/// Octets of the body of an answer that is relayed.
const BODY_MOST: usize = 64 * 1024;

/// A question, and where the answer goes.
pub type PendingQuestion = (Arc<AuthQuestion>, AnswerSlot);

/// Answers questions until nobody can ask any more.
pub async fn answer(questions: Receiver<PendingQuestion>, mailboxes: Vec<Mailbox<Command>>) {
    let passwords = PasswordChecks::start(mailboxes.clone());
    let asking = Semaphore::new(SERVICES);
    let executor = LocalExecutor::new();
    let taking = async {
        while let Ok((question, slot)) = questions.recv_async().await {
            if let Asked::Password { .. } = &question.asked {
                match &passwords {
                    Some(passwords) => passwords.ask((question, slot)),
                    None => tell(&mailboxes, &slot, Answer::Unavailable),
                }
                continue;
            }
            let Some(permit) = asking.try_acquire() else {
                tell(&mailboxes, &slot, Answer::Unavailable);
                continue;
            };
            let mailboxes = &mailboxes;
            let task = executor.spawn(async move {
                let _permit = permit;
                tell(mailboxes, &slot, service(&question).await);
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

/// What the service says.
async fn service(question: &AuthQuestion) -> Answer {
    let (spec, lines) = match (&question.auth.spec.kind, &question.asked) {
        (AuthKind::Forward(spec), Asked::Service(lines)) => (spec, lines),
        _ => return Answer::Unavailable,
    };
    let ForwardAuthSpec { url, timeout, fields, .. } = spec;
    let late = async {
        async_io::Timer::after(*timeout).await;
        None
    };
    let asking = async {
        let addresses = resolve(&url.place).await.ok()?;
        let asked = Question {
            method: Method::Get,
            target: &url.target,
            host: &url.authority,
            fields: lines,
            body: "",
        };
        for address in addresses.iter().take(3) {
            match client::ask(address, asked, *timeout).await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    let auth = &question.auth.spec.name;
                    tracing::debug!(%auth, %error, "the service that says who may did not answer");
                }
            }
        }
        None
    };
    match asking.or(late).await {
        None => Answer::Unavailable,
        Some(answer) if (200..300).contains(&answer.status) => {
            let mut lines = Vec::new();
            for (name, value) in &answer.fields {
                if fields.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) {
                    lines.extend_from_slice(format!("{name}: ").as_bytes());
                    lines.extend_from_slice(value);
                    lines.extend_from_slice(b"\r\n");
                }
            }
            Answer::Good { user: None, lines }
        }
        Some(answer) => relayed(answer),
    }
}

/// Fields of an answer that are relayed with it.
const RELAYED: [&str; 6] =
    ["Content-Type", "WWW-Authenticate", "Location", "Set-Cookie", "Cache-Control", "Retry-After"];

/// The service's own answer, for the client. One that says that it failed says nothing of the credentials.
fn relayed(answer: client::Answer) -> Answer {
    if answer.status >= 500 || answer.status < 200 || answer.body.len() > BODY_MOST {
        return Answer::Unavailable;
    }
    let mut reply = Reply::empty(if answer.status == 304 { 403 } else { answer.status });
    for name in RELAYED {
        let own = answer.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        for (_, value) in own {
            let text = String::from_utf8_lossy(grammar::trim(value)).into_owned();
            reply.push(name, text);
        }
    }
    reply.body = String::from_utf8_lossy(&answer.body).into_owned();
    Answer::Bad(Some(reply))
}
