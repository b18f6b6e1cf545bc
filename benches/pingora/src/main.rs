//! A reverse proxy of one route over Pingora: `pingora-peer PORT ORIGIN_PORT`.
//!
//! One thread that shares no work with others, as many kept connections to the origin as there may be clients, no
//! log, no retry, no module: nothing but the proxying.

use std::process::ExitCode;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Where everything goes.
struct Route {
    origin: String,
}

#[async_trait]
impl ProxyHttp for Route {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&*self.origin, false, String::new())))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, origin] = &arguments[..] else {
        eprintln!("pingora-peer PORT ORIGIN_PORT");
        return ExitCode::from(2);
    };
    let settings = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 4096,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let route = Route { origin: format!("127.0.0.1:{origin}") };
    let mut service = http_proxy_service(&server.configuration, route);
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever()
}
