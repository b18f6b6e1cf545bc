//! Programs that are started, pinned to processors, looked at in `/proc` and ended.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a program may take to start, and to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks whether something has happened.
const GLANCE: Duration = Duration::from_micros(200);

/// Who runs where. With two processors origin and load share one.
#[derive(Clone, Debug)]
pub struct Places {
    /// The proxy's.
    pub proxy: usize,
    /// The load's, and this program's.
    pub load: usize,
    /// The origin's.
    pub origin: usize,
    /// Those that we may use.
    pub all: Vec<usize>,
}

impl Places {
    /// Among the processors that we may use.
    pub fn find() -> io::Result<Places> {
        let allowed = sched_getaffinity(None)?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|one| allowed.is_set(*one)).collect();
        match all[..] {
            [proxy, load, ..] => {
                let origin = all.get(2).copied().unwrap_or(load);
                Ok(Places { proxy, load, origin, all })
            }
            _ => Err(io::Error::other("two processors are needed: the proxy has one for itself")),
        }
    }
}

/// Puts this thread, and what it starts from now on, onto `processors`.
pub fn stay_on(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the limit of open files, which what is started inherits; gives the new one.
pub fn allow_many_files() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    // Where it fails, the workloads with many connections say so themselves.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A port nobody listens at now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Seconds in programs, in the kernel's ticks of 10 ms.
    user_s: f64,
    /// Seconds in the kernel on their behalf, likewise.
    system_s: f64,
    /// Both together, to the nanosecond where the kernel tells.
    total_s: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
            total_s: self.total_s - earlier.total_s,
        }
    }
}

impl Cpu {
    /// Seconds in programs and in the kernel: the exact sum, divided as the ticks are.
    pub fn parts_s(self) -> (f64, f64) {
        let ticks_s = self.user_s + self.system_s;
        let quota = if ticks_s > 0.0 { self.user_s / ticks_s } else { 0.0 };
        (self.total_s * quota, self.total_s * (1.0 - quota))
    }
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// Starts `command` on `processors`; what it says goes to the file `said`. Does not wait until it listens.
    pub fn start(
        command: &mut Command,
        port: u16,
        processors: &[usize],
        said: &Path,
    ) -> io::Result<Running> {
        let before = sched_getaffinity(None)?;
        stay_on(processors)?;
        let said = File::create(said)?;
        let child = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn();
        sched_setaffinity(None, &before)?;
        Ok(Running { child: child?, address: ([127, 0, 0, 1], port).into() })
    }

    /// Waits until it accepts connections.
    pub fn wait_until_it_listens(&mut self) -> Result<(), String> {
        wait_for(|| {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(format!("ended when it was started: {status}")));
            }
            TcpStream::connect(self.address).is_ok().then_some(Ok(()))
        })
        .unwrap_or_else(|| Err(format!("does not listen after {} s", PATIENCE.as_secs())))
    }

    /// Its process and all that descend from it.
    pub fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while at < family.len() {
            let tasks = fs::read_dir(format!("/proc/{}/task", family[at]));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(number::<u32>));
            }
            at += 1;
        }
        family
    }

    /// Processor time of the family so far.
    pub fn cpu(&self) -> Cpu {
        let tick_s = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        let mut sum = Cpu::default();
        for pid in self.family() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name, in parentheses, may hold anything; what follows does not.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let ticks: Vec<u64> =
                fields.split_whitespace().skip(11).take(2).filter_map(number).collect();
            if let [user, system] = ticks[..] {
                let (user_s, system_s) = (user as f64 * tick_s, system as f64 * tick_s);
                sum.user_s += user_s;
                sum.system_s += system_s;
                sum.total_s += exact_s(pid).unwrap_or(user_s + system_s);
            }
        }
        sum
    }

    /// Octets of resident memory of the family, as `ps` tells them: pages that two share count twice.
    pub fn resident(&self) -> u64 {
        self.family().into_iter().map(resident).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Those that the first one leaves behind when it has to be killed.
        let rest = self.family().split_off(1);
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails when it has ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        if wait_for(|| self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let left = rest.into_iter().filter_map(|pid| Pid::from_raw(pid as i32));
            left.for_each(|pid| {
                let _ = kill_process(pid, Signal::KILL);
            });
        }
    }
}

/// Time on a processor of all threads, from the scheduler. Nothing where the kernel does not count it.
fn exact_s(pid: u32) -> Option<f64> {
    let mut sum_s = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread that has ended meanwhile takes its time with it; what is compared has none that do.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let ns: u64 = number(text.split_whitespace().next()?)?;
        sum_s += ns as f64 / 1e9;
    }
    (sum_s > 0.0).then_some(sum_s)
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|line| number(line.split_whitespace().next()?));
    kib.unwrap_or(0) * 1024
}

/// Asks again and again until there is an answer, for [`PATIENCE`].
pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        thread::sleep(GLANCE);
    }
}

/// A number of digits only.
pub fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let digit = |sum: Option<u64>, octet: u8| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        sum?.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.bytes().fold(Some(0), digit)?.try_into().ok() }
}
