//! One scenario from beginning to end, and what must be true after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use crate::chance::Chance;
use crate::config::{
    self, Action, Conditions, ExchangeSpec, Forward, Listen, PathPattern, Plan, PoolSpec, Redirect,
    Respond, RetrySpec, RouteAction, RouteSource, RouteSpec, Share, Surroundings, Template,
    UpstreamSpec,
};
use crate::gate::Wanted;
use crate::io::address::Address;
use crate::io::listen;
use crate::ledger::Ledger;
use crate::net::Micros;
use crate::porter;
use crate::press;
use crate::proxy::{Command, CoreSpec, LABELS, OpenListener, Runtime};
use crate::scenario::{self, ByRoute, Scenario, Stopping, Swap};
use crate::seal::Sealer;
use crate::stats::{self, Counter, Record, UpstreamState};
use crate::trace::Trace;
use crate::upstream::Registry;
use crate::world::{self, World, with};

/// A core that is told to stop gives tunnels a second, and may be a tick or two late.
const STOP_MOST: Micros = 1_200_000;

/// What is left of a run.
pub struct Outcome {
    /// The same for the same course of events.
    pub hash: u64,
    /// What should not have been.
    pub complaints: Vec<String>,
    /// How each request ended, by reason.
    pub reasons: Vec<u64>,
}

/// The same three upstreams by TCP and by Unix sockets.
static PLANS: LazyLock<[Plan; 2]> = LazyLock::new(|| {
    let around = Surroundings {
        cwd: Path::new("/"),
        cores: 1,
        descriptors: 1_024,
        stdout_is_terminal: false,
    };
    let load = |upstreams: [&str; 3]| {
        let words = upstreams.into_iter().flat_map(|upstream| ["--upstream", upstream]);
        match config::load(words.map(Into::into), [], &around) {
            Ok(Action::Run(plan, _)) => *plan,
            _ => panic!("a plan"),
        }
    };
    let tcp = load(["10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"]);
    [tcp, load(["unix:/1.sock", "unix:/2.sock", "unix:/3.sock"])]
});

fn plan(scenario: &Scenario) -> Plan {
    let [mut plan, local] = PLANS.clone();
    let (pool, local) = (Arc::make_mut(&mut plan.pools[0]), &local.pools[0]);
    let upstreams = pool.upstreams.iter_mut().zip(&local.upstreams).zip(scenario.local);
    for ((upstream, local), _) in upstreams.filter(|(_, is_local)| *is_local) {
        *upstream = local.clone();
    }
    if let Some(sealing) = &scenario.sealing {
        for (upstream, port) in pool.upstreams.iter_mut().zip(1..) {
            upstream.secure = sealing.has_upstream(port);
        }
    }
    pool.upstreams.truncate(scenario.upstreams);
    pool.connections.max_idle = scenario.upstream_idle;
    let timeouts = &scenario.timeouts;
    pool.connections.idle_timeout = timeouts.upstream_idle;
    plan.process.drain_timeout = timeouts.drain;
    (plan.listener.read_timeout, plan.listener.idle_timeout) = (timeouts.read, timeouts.idle);
    plan.process.buffers = scenario.buffers;
    plan.process.max_connections = scenario.connections;
    plan.listener.limits.head = scenario.head_most;
    let mut retry = RetrySpec { most: scenario.retries, ..plan.exchange.retry.clone() };
    if let Some(sick) = &scenario.sick {
        sick.apply(pool);
        retry = sick.retry(retry);
    }
    let exchange = ExchangeSpec {
        timeouts: config::Timeouts {
            connect: timeouts.connect,
            read: timeouts.read,
            write: timeouts.write,
            response: timeouts.response,
            tunnel_idle: timeouts.tunnel_idle,
            expect: timeouts.expect,
        },
        max_body: scenario.body_most,
        min_rate: scenario.gate.as_ref().and_then(|gated| gated.rate),
        retry,
        half_close: scenario.half_close,
        ..(*plan.exchange).clone()
    };
    let plan = plan.with_exchange(exchange);
    let by_routes = scenario.asks.iter().enumerate();
    let by_routes = by_routes.filter_map(|(id, ask)| Some(by_route(&plan, id, ask.by_route?)));
    let routes = by_routes.chain(plan.routes.iter().cloned()).collect();
    let plan = Plan { routes, ..plan };
    match &scenario.gate {
        Some(gated) => gated.apply(&scenario.asks, plan),
        None => plan,
    }
}

/// The route that answers the request with this number.
fn by_route(plan: &Plan, id: usize, what: ByRoute) -> RouteSpec {
    let text = |text: &str| Template::read(text).unwrap();
    let action = match what {
        ByRoute::Redirect => RouteAction::Redirect(Redirect {
            to: text("https://elsewhere{uri}"),
            status: what.status(),
        }),
        ByRoute::Text => RouteAction::Respond(Respond {
            status: what.status(),
            kind: "text/plain".to_owned(),
            body: text("{method} {path}"),
        }),
    };
    let path = format!("/r{id}");
    let path = PathPattern { normal: path.clone().into_bytes(), text: path, below: false };
    RouteSpec {
        name: format!("by-route-{id}").into(),
        gate: Arc::default(),
        conditions: Conditions { path: vec![path], ..Conditions::default() },
        action,
        exchange: Arc::clone(&plan.exchange),
        source: RouteSource::Section,
    }
}

/// The plan that replaces `plan`: other upstreams, in one pool, or each in its own.
fn swapped(plan: &Plan, swap: &Swap) -> Arc<Plan> {
    let mut next = plan.clone();
    let mut pool = (*plan.pools[0]).clone();
    pool.connections.max_idle = swap.upstream_idle;
    let upstreams = swap
        .upstreams
        .iter()
        .zip(&swap.weights)
        .map(|(index, weight)| UpstreamSpec { weight: *weight, ..pool.upstreams[*index].clone() });
    let upstreams: Vec<_> = upstreams.collect();
    if !swap.apart {
        next.pools = vec![Arc::new(PoolSpec { upstreams, ..pool })];
        return Arc::new(next);
    }
    let names = (0..upstreams.len()).map(|number| Arc::from(format!("pool-{number}")));
    let own =
        |(name, upstream)| Arc::new(PoolSpec { name, upstreams: vec![upstream], ..pool.clone() });
    next.pools = names.zip(upstreams).map(own).collect();
    let share = |pool: &Arc<PoolSpec>| Share {
        pool: Arc::clone(&pool.name),
        weight: pool.upstreams[0].weight,
        exchange: Arc::clone(&next.exchange),
    };
    let action = RouteAction::Forward(Forward {
        shares: next.pools.iter().map(share).collect(),
        strip_prefix: None,
        add_prefix: String::new(),
    });
    let route = |route: &RouteSpec| match route.action {
        RouteAction::Forward(_) => RouteSpec { action: action.clone(), ..route.clone() },
        _ => route.clone(),
    };
    next.routes = plan.routes.iter().map(route).collect();
    Arc::new(next)
}

/// Runs the scenario of `seed`; `aloud`: prints what happens.
pub fn run(seed: u64, aloud: bool) -> Outcome {
    let mut scenario = scenario::of(seed);
    let mut plan = plan(&scenario);
    let sealer = Sealer::new(&scenario);
    let tls = sealer.as_ref().map(|sealer| sealer.apply(&mut plan)).unwrap_or_default();
    let plan = Arc::new(plan);
    let mut registry = Registry::new(1);
    let swapped: Vec<_> = scenario.swaps.iter().map(|swap| swapped(&plan, swap)).collect();
    let runtime = Runtime::link_with(tls, plan, &mut registry, None);
    press::stay(&mut scenario, &runtime);
    if aloud {
        println!("{scenario:#?}");
    }
    let mut link = |plan| Runtime::link(plan, &mut registry, Some(&runtime));
    let runtimes: Vec<_> = swapped.into_iter().map(&mut link).collect();
    let stats = Arc::new(stats::Core::new(&LABELS));
    let (commands, mailbox) = flume::bounded(16);
    let chance = Chance::seeded(seed ^ 0x5eed_5eed);
    let trace = Trace::new(aloud);
    let ledger = |sick| Ledger::new(sick, &scenario, &runtime, &stats);
    let ledger = scenario.sick.as_ref().map(ledger);
    let (events, questions) = flume::bounded(64);
    let stats_seen = Arc::clone(&stats);
    let mut world = World::new(&scenario, chance, trace, commands, runtimes, stats_seen, questions);
    world.book.ledger = ledger;
    sealer.into_iter().for_each(|sealer| world.seal(sealer));
    world::begin(world);
    let (recorder, records) = stats::records(scenario.records);
    let listen = Listen::Tcp(([127, 0, 0, 1], 80).into());
    let Ok(bound) = listen::bind(&Address::Tcp(([127, 0, 0, 1], 80).into()), 1) else { panic!() };
    let upstreams: Vec<_> = runtime.upstreams().cloned().collect();
    let linked = Arc::clone(&runtime);
    let core = CoreSpec {
        index: 0,
        origin: crate::io::clock::origin(),
        runtime,
        stats: Arc::clone(&stats),
        recorder: Some(recorder),
        auditor: None,
        connections: Arc::default(),
        client_permits: Arc::default(),
        listeners: bound
            .sockets
            .into_iter()
            .map(|socket| OpenListener { listen: listen.clone(), socket })
            .collect(),
        events,
    };
    let permits = Arc::clone(&core.client_permits);
    let connections = Arc::clone(&core.connections);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        core.run(|_| {
            with(|world| world.tell(Command::Accept));
            mailbox
        })
    }));
    let mut world = world::end();
    match ended {
        Ok(Ok(0)) => {}
        Ok(Ok(away)) => world.book.complain(format!("{away} buffers or pipes did not come home")),
        Ok(Err(error)) => world.book.complain(format!("the core failed: {error}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            world.book.complain(format!("panic: {text}"));
        }
    }
    if let Some(stopped) = world.stopped
        && world.net.now > stopped + STOP_MOST
    {
        world.book.complain(format!("told to stop, it took {} us", world.net.now - stopped));
    }
    let connections = connections.load(std::sync::atomic::Ordering::Relaxed) as u64;
    let records: Vec<_> = records.try_iter().collect();
    check(&mut world, &scenario, &stats, &upstreams, &records);
    let wrong = porter::close(&scenario, &world.book.asks, &records, &linked);
    world.book.complaints.extend(wrong);
    for person in &scenario.people {
        if permits.take(person.from(), 1).is_none() {
            world.book.complain(format!("a permit of {} did not come home", person.from()));
        }
    }
    let ledger = world.book.ledger.take();
    let wrong = ledger.map(|ledger| ledger.close(&scenario, &linked, &records));
    world.book.complaints.extend(wrong.into_iter().flatten());
    expect(&mut world, "connections over all cores", connections, 0);
    Outcome {
        hash: world.net.trace.hash(),
        complaints: world.book.complaints,
        reasons: stats.reasons.iter().map(Counter::get).collect(),
    }
}

fn expect(world: &mut World, what: &str, is: u64, should_be: u64) {
    if is != should_be {
        world.book.complain(format!("{what}: {is}, not {should_be}"));
    }
}

/// What must be true after any scenario.
fn check(
    world: &mut World,
    scenario: &Scenario,
    stats: &stats::Core,
    upstreams: &[Arc<UpstreamState>],
    records: &[Box<Record>],
) {
    let reasons: u64 = stats.reasons.iter().map(Counter::get).sum();
    let requests = stats.requests.get();
    expect(world, "requests ended with a reason", reasons, requests);
    let written = records.len() as u64 + stats.records_dropped.get();
    expect(world, "requests written down", written, requests);
    for (what, gauge) in [
        ("requests under way", &stats.active),
        ("tunnels", &stats.tunnels),
        ("connections", &stats.connections),
    ] {
        expect(world, what, gauge.get(), 0);
    }
    for (index, entry) in upstreams.iter().enumerate() {
        let upstream = entry.of_core(0);
        expect(world, &format!("under way to upstream {index}"), upstream.active.get(), 0);
        expect(world, &format!("idle connections to upstream {index}"), upstream.idle.get(), 0);
    }
    expect(world, "panics", stats.panics.get(), 0);
    let open = world.net.open as u64;
    expect(world, "descriptors open", open, 0);
    let accepted = world.net.accepted - world.net.unwatched;
    expect(world, "connections accepted", stats.accepted.get(), accepted);
    // What tidegate has no descriptor for is no failure of an upstream.
    let failed: u64 = upstreams.iter().map(|entry| entry.of_core(0).connect_failures.get()).sum();
    let turned_away = world.net.turned_away;
    // Nor is a handshake that comes to nothing one of the connect's.
    let is_plain = scenario.sealing.is_none();
    if is_plain && scenario.stopping == Stopping::Quiet && failed > turned_away {
        let text = format!("{failed} connects failed, {turned_away} by an upstream");
        world.book.complain(text);
    }
    octets(world, scenario, stats);
    fates(world, scenario, records);
}

/// Octets add up: what the counters say went out is what the kernel was given.
fn octets(world: &mut World, scenario: &Scenario, stats: &stats::Core) {
    let (clients, origins) = (world.net.clients, world.net.origins);
    let (read, sent) = (stats.client_received.get(), stats.client_sent.get());
    let (from, to) = (stats.upstream_received.get(), stats.upstream_sent.get());
    if read > clients[0] || from > origins[0] {
        world.book.complain(format!("read {read} of {}, {from} of {}", clients[0], origins[0]));
    }
    // There are more octets in records than are told of.
    if scenario.sealing.is_some() {
        if sent > clients[1] || to > origins[1] {
            world.book.complain(format!("sent {sent} of {}, {to} of {}", clients[1], origins[1]));
        }
        return;
    }
    // A Close of our own in a tunnel is not counted.
    if stats.tunnels_opened.get() == 0 {
        expect(world, "octets sent to clients", sent, clients[1]);
        expect(world, "octets sent to origins", to, origins[1]);
    }
}

/// Each request ended once, and those that nothing stood against were answered.
fn fates(world: &mut World, scenario: &Scenario, records: &[Box<Record>]) {
    let all = scenario.records > records.len();
    let plain = scenario.gate.as_ref().is_none_or(|gated| gated.announcers.is_none());
    if plain && records.iter().any(|record| record.peer.is_none_or(|peer| !peer.is_ipv4())) {
        world.book.complain("a client of IPv4 was taken for another".to_owned());
    }
    for (id, ask) in world.book.asks.clone().iter().enumerate() {
        let target = format!("/r{id}");
        let ended = records.iter().filter(|record| record.target == target).count();
        let fate = &ask.fate;
        if ended > 1 || all && ended == 0 && (fate.seen > 0 || fate.got.is_some_and(|_| !fate.own))
        {
            world.book.complain(format!("request {id} has {ended} records"));
        }
        let read = records.iter().find(|record| record.target == target);
        if let Some(Record { bytes_in, .. }) = read.map(|record| &**record)
            && !ask.websocket
            && fate.kept
            && *bytes_in != fate.size
        {
            let size = fate.size;
            let text = format!("of request {id}, {size} octets long, {bytes_in} were read");
            world.book.complain(text);
        }
        if ask.stood_by && fate.own && !fate.begun_to_answer && matches!(fate.got, Some(502 | 503))
        {
            let tries = read.map_or(0, |record| record.attempts.len());
            let got = fate.got;
            let text = format!("request {id} got {got:?} after {tries} tries: one stood by");
            world.book.complain(text);
        }
        if ask.by_route.is_some() && fate.seen > 0 {
            world
                .book
                .complain(format!("request {id} is a route's to answer, and an origin saw it"));
        }
        let door = ask.door.as_ref().map(|door| door.wanted);
        let is_as_wanted = match door {
            Some(Wanted::Refused(_, status)) => fate.got == Some(status),
            Some(Wanted::Preflight) => fate.got == Some(204),
            Some(Wanted::Pass) if fate.got == Some(429) && fate.own => true,
            Some(Wanted::Pass) | None => !fate.own && fate.got.is_some(),
        };
        if ask.sound && !is_as_wanted {
            world.book.complain(format!("request {id} was sound, and got {:?}", fate.got));
        }
    }
}
