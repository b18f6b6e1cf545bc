//! Names over DNS: hickory's resolver on the sockets and timers of smol, with no runtime of its own.
//!
//! Each lookup reads the system's configuration anew, for networks come and go, and keeps nothing: the answer says how
//! long it holds.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::{Async, Timer};
use async_net::TcpStream;
use async_trait::async_trait;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, system_conf};
use smol::Executor;

use super::resolve::Answer;
use crate::config::{Lookup, ServiceRecord, TARGETS_MOST, Target, targets_of};

/// How long a server has to answer, of those that are named in settings; the system's say it themselves.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The system's configuration.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// A connection to a server, where the resolver does not say.
const CONNECT: Duration = Duration::from_secs(5);

/// Addresses or records, and the seconds that they hold.
type Found<T> = io::Result<(Vec<T>, u32)>;

/// Asks `servers`, or those that the system is configured for where there are none.
///
/// # Errors
/// When there is no address, or a part of the question has no answer: what was known is better than half of it.
pub async fn look_up(lookup: &Lookup, servers: &Arc<[SocketAddr]>) -> io::Result<Answer> {
    let executor = Arc::new(Executor::new());
    let (servers, sockets) = (Arc::clone(servers), Sockets(Arc::downgrade(&executor)));
    let resolver = smol::unblock(move || resolver(&servers, sockets)).await?;
    let asking = async {
        match lookup {
            Lookup::Host(name) => {
                let (ips, ttl) = addresses(&resolver, name).await?;
                Ok((ips.into_iter().map(Target::of_host).collect(), ttl))
            }
            Lookup::Service(name) => service(&executor, &resolver, name).await,
        }
    };
    let (targets, ttl): (Vec<Target>, u32) = executor.run(asking).await?;
    match targets.is_empty() {
        true => Err(io::Error::other("it has no address")),
        false => Ok(Answer { targets, ttl: Some(Duration::from_secs(ttl.into())) }),
    }
}

/// A resolver that knows nothing yet. Reads files, so it takes a while.
fn resolver(servers: &[SocketAddr], sockets: Sockets) -> io::Result<Resolver<Sockets>> {
    let (config, mut options) = match servers {
        [] => system_conf::parse_resolv_conf(std::fs::read(RESOLV_CONF)?).map_err(other)?,
        servers => named(servers),
    };
    options.cache_size = 0;
    let mut builder = Resolver::builder_with_config(config, sockets);
    *builder.options_mut() = options;
    builder.build().map_err(other)
}

/// Only these are asked: neither the hosts file nor domains to search have a say.
fn named(servers: &[SocketAddr]) -> (ResolverConfig, ResolverOpts) {
    let server = |address: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|one| one.port = address.port());
        NameServerConfig::new(address.ip(), true, connections)
    };
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.use_hosts_file = ResolveHosts::Never;
    let servers = servers.iter().map(server).collect();
    (ResolverConfig::from_parts(None, Vec::new(), servers), options)
}

/// The records of one kind; none where there are none, which is an answer too.
async fn records(resolver: &Resolver<Sockets>, name: &str, kind: RecordType) -> Found<RData> {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let records = found.answers();
            let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
            let records = records.iter().filter(|record| record.record_type() == kind);
            Ok((records.map(|record| record.data.clone()).collect(), ttl))
        }
        Err(error) if is_none(&error) => Ok((Vec::new(), u32::MAX)),
        Err(error) => Err(other(error)),
    }
}

/// There are no such records. Some servers have only A records, and refuse whoever asks for others.
fn is_none(error: &NetError) -> bool {
    const NONE: [ResponseCode; 2] = [ResponseCode::Refused, ResponseCode::NotImp];
    let refused = |code: &ResponseCode| NONE.contains(code);
    let refuses = matches!(error, NetError::Dns(DnsError::ResponseCode(code)) if refused(code));
    refuses || error.is_no_records_found()
}

async fn addresses(resolver: &Resolver<Sockets>, name: &str) -> Found<IpAddr> {
    let (four, six) = futures_lite::future::zip(
        records(resolver, name, RecordType::A),
        records(resolver, name, RecordType::AAAA),
    )
    .await;
    let ((mut found, four), (six, ttl)) = (four?, six?);
    found.extend(six);
    Ok((found.iter().filter_map(RData::ip_addr).collect(), ttl.min(four)))
}

/// The hosts of a service are looked up side by side.
async fn service(
    executor: &Executor<'static>,
    resolver: &Resolver<Sockets>,
    name: &str,
) -> Found<Target> {
    let (records, mut ttl) = records(resolver, name, RecordType::SRV).await?;
    let mut services = Vec::new();
    for record in records {
        if let RData::SRV(record) = record {
            services.push(record);
        }
    }
    // Those that count come first, in an order that does not depend on the server's.
    services.sort_by_cached_key(|one| (one.priority, one.target.to_string(), one.port));
    services.truncate(TARGETS_MOST);
    let hosts: Vec<_> = services
        .iter()
        .map(|one| {
            let (resolver, host) = (resolver.clone(), one.target.to_string());
            executor.spawn(async move { addresses(&resolver, &host).await })
        })
        .collect();
    let mut known = Vec::new();
    for (one, host) in services.iter().zip(hosts) {
        let (ips, least) = host.await?;
        ttl = ttl.min(least);
        let (priority, weight, port) = (one.priority, one.weight, one.port);
        known.push(ServiceRecord { priority, weight, port, ips });
    }
    Ok((targets_of(&known), ttl))
}

fn other(error: NetError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Sockets, timers and tasks for the resolver. Tasks end with the lookup, which holds the executor.
#[derive(Clone)]
struct Sockets(Weak<Executor<'static>>);

struct Udp(Async<UdpSocket>);

struct Tcp(TcpStream);

struct Timers;

impl Spawn for Sockets {
    fn spawn_bg(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

impl RuntimeProvider for Sockets {
    type Handle = Sockets;
    type Timer = Timers;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> Sockets {
        self.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _bind: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Tcp>>>> {
        let connect = async move { TcpStream::connect(server).await.map(Tcp) };
        Box::pin(within(timeout.unwrap_or(CONNECT), connect))
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Udp>>>> {
        Box::pin(async move { Async::<UdpSocket>::bind(local).map(Udp) })
    }
}

async fn within<T>(wait: Duration, done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(wait).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    done.or(late).await
}

#[async_trait]
impl Time for Timers {
    async fn delay_for(wait: Duration) {
        Timer::after(wait).await;
    }

    async fn timeout<F: 'static + Future + Send>(wait: Duration, done: F) -> io::Result<F::Output> {
        within(wait, async { Ok(done.await) }).await
    }
}

impl DnsUdpSocket for Udp {
    type Time = Timers;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.0.poll_readable(cx))?;
        }
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buffer: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.get_ref().send_to(buffer, target) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.0.poll_writable(cx))?;
        }
    }
}

impl DnsTcpStream for Tcp {
    type Time = Timers;
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
