//! The cores as the control plane sees them: a mailbox to each, and a word from each at its end.

use std::thread;

use flume::{Receiver, Sender};

use crate::io::signal::Mailbox;
use crate::proxy::{Command, CoreSpec};

/// A core that has ended: how many buffers and pipes were missing, or why it failed.
type CoreEnd = Result<usize, String>;

/// All cores.
#[derive(Debug)]
pub struct Cores {
    /// One for each core.
    pub mailboxes: Vec<Mailbox<Command>>,
    report: Sender<CoreEnd>,
    ended: Receiver<CoreEnd>,
}

impl Cores {
    /// None yet, and at most `most`.
    pub fn new(most: usize) -> Cores {
        let (report, ended) = flume::bounded(most);
        Cores { mailboxes: Vec::new(), report, ended }
    }

    /// Starts a core on a thread of its own, and waits until it can be told things.
    pub fn start(&mut self, spec: CoreSpec) -> Result<(), String> {
        let index = spec.index;
        let report = self.report.clone();
        let (hand_over, mailbox) = flume::bounded(1);
        let run = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                spec.run(|core| {
                    let (mailbox, commands) = Mailbox::new(core.reactor.notifier());
                    let _ = hand_over.send(mailbox);
                    commands
                })
            }));
            let ended = match result {
                Ok(Ok(lent)) => Ok(lent),
                Ok(Err(error)) => Err(format!("core {index} failed: {error}")),
                Err(_) => Err(format!("core {index} panicked, which is a defect in tidegate")),
            };
            let _ = report.send(ended);
        };
        thread::Builder::new()
            .name(format!("core-{index}"))
            .spawn(run)
            .map_err(|error| format!("cannot start a thread for core {index}: {error}"))?;
        let silent = |_| match self.ended.recv() {
            Ok(Err(why)) => why,
            _ => format!("core {index} did not start"),
        };
        self.mailboxes.push(mailbox.recv().map_err(silent)?);
        Ok(())
    }

    /// Sends every core the same command.
    pub fn tell(&self, command: &Command) {
        self.mailboxes.iter().for_each(|mailbox| {
            mailbox.send(command.clone());
        });
    }

    /// Waits for a core to end that was not told to; says why.
    pub async fn failure(&self) -> String {
        match self.ended.recv_async().await {
            Ok(Err(failure)) => failure,
            _ => "a core ended unasked".to_owned(),
        }
    }

    /// Waits until no core is running; may be dropped and called again.
    ///
    /// # Errors
    /// When a core failed, instead of ending.
    pub async fn wait(&self, running: &mut usize) -> Result<(), String> {
        while *running > 0 {
            match self.ended.recv_async().await {
                Ok(Ok(0)) => *running -= 1,
                Ok(Ok(lent)) => {
                    *running -= 1;
                    tracing::error!(lent, "buffers did not come home, which is a defect");
                }
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}
