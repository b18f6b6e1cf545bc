"""dnsmasq, whose records change, and the real binary in front of origins at the addresses it names.

Needs tidegate built with the feature dns. Loopback only; every wait has a deadline.
"""

import collections
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time

import requests

from clients import DEADLINE_S, Process, same

ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]


class Dns:
    """dnsmasq on a high port; `tell` changes what it says."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.hosts = os.path.join(self.folder.name, "hosts")
        open(self.hosts, "w").close()
        self.port = free_port()
        self.services = []
        self.start()

    def start(self):
        options = [f"--srv-host={service}" for service in self.services]
        self.process = Process(
            "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-queries", "--conf-file=/dev/null",
            "--no-resolv", "--no-hosts", "--local=/test/", f"--addn-hosts={self.hosts}", "--local-ttl=1", "--bind-interfaces",
            "--listen-address=127.0.0.1", f"--port={self.port}", "--pid-file=", "--user=", *options,
        )
        self.process.find("started, version")

    def tell(self, name, addresses):
        with open(self.hosts, "w") as hosts:
            hosts.writelines(f"{address} {name}\n" for address in addresses)
        self.process.child.send_signal(signal.SIGHUP)


def free_port():
    import socket
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def tidegate(binaries, dns, upstream, resolve):
    proxy = Process(
        os.path.join(binaries, "tidegate"), "--upstream", upstream, "--resolve", resolve,
        "--resolver", f"127.0.0.1:{dns.port}", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
        "--access-log", "off",
    )
    proxy.find(r"\bready\b")
    proxy.admin = "http://" + proxy.find(r"admin.*address=(\S+)")
    front = next(line for line in proxy.lines if "listening" in line)
    proxy.url = "http://" + re.search(r"address=(\S+)", front).group(1)
    return proxy


def upstreams(proxy):
    """Address and weight of each upstream, as /status has them."""
    page = requests.get(proxy.admin + "/status", timeout=DEADLINE_S).json()
    return {re.sub(r"^http://|:\d+$", "", one["url"]): one for one in page["upstreams"]}


def until(what, expected):
    """Waits until `what` gives what is expected."""
    end = time.monotonic() + DEADLINE_S
    while (found := what()) != expected:
        assert time.monotonic() < end, f"{found} is not {expected}"
        time.sleep(0.02)


def answers(proxy, number):
    """Which origins answered how many of so many requests, all of which must succeed."""
    with requests.Session() as session:
        def one():
            answer = session.get(proxy.url, timeout=DEADLINE_S)
            same(answer.status_code, 200)
            return answer.text.strip()
        return collections.Counter(one() for _ in range(number))


def addresses_come_and_go_under_requests(binaries, dns, port):
    dns.tell("api.test", ADDRESSES[:1])
    proxy = tidegate(binaries, dns, f"http://api.test:{port}", "200ms")
    done, wrong = threading.Event(), []

    def ask():
        with requests.Session() as session:
            while not done.is_set():
                try:
                    status = session.get(proxy.url, timeout=DEADLINE_S).status_code
                except requests.RequestException as error:
                    status = error
                if status != 200:
                    wrong.append(status)
                # In step with the other who asks, each would see one of two upstreams alone.
                time.sleep(random.uniform(0, 0.003))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for now in [ADDRESSES, ADDRESSES[1:], ADDRESSES[:2], ADDRESSES[2:]]:
            dns.tell("api.test", now)
            until(lambda: sorted(upstreams(proxy)), now)
            same(sorted(answers(proxy, 12)), now)
        names = {one["resolved_from"] for one in upstreams(proxy).values()}
        same(names, {f"http://api.test:{port}"})
        page = requests.get(proxy.admin + "/config", timeout=DEADLINE_S).json()
        assert f"http://api.test:{port}" in str(page["upstreams"]), page["upstreams"]
        # A name that is gone, and then a server that is, change nothing.
        dns.tell("other.test", ADDRESSES[:1])
        proxy.find("cannot resolve api.test")
        same(sorted(answers(proxy, 4)), ADDRESSES[2:])
        dns.tell("api.test", ADDRESSES[2:])
        proxy.find("api.test can be resolved again")
        dns.process.kill()
        until(lambda: sum("cannot resolve" in line for line in proxy.lines), 2)
        same(sorted(answers(proxy, 4)), ADDRESSES[2:])
        dns.start()
    finally:
        done.set()
        asking.join()
    same(wrong, [])
    same(proxy.stop(), 0)


def a_drain_of_a_name_drains_its_addresses(binaries, dns, port):
    dns.tell("api.test", ADDRESSES[:2])
    proxy = tidegate(binaries, dns, f"http://api.test:{port}", "200ms")
    until(lambda: sorted(upstreams(proxy)), ADDRESSES[:2])
    order = {"url": f"http://api.test:{port}"}
    same(requests.post(proxy.admin + "/drain", json=order, timeout=DEADLINE_S).status_code, 200)
    same({one["state"] for one in upstreams(proxy).values()}, {"draining"})
    dns.tell("api.test", ADDRESSES)
    until(lambda: sorted(upstreams(proxy)), ADDRESSES)
    same({one["state"] for one in upstreams(proxy).values()}, {"draining"})
    same(proxy.stop(), 0)


def an_unresolved_name_gets_503_until_it_is_known(binaries, dns, port):
    dns.tell("other.test", ADDRESSES[:1])
    proxy = tidegate(binaries, dns, f"http://api.test:{port}", "10s")
    same(requests.get(proxy.url, timeout=DEADLINE_S).status_code, 503)
    dns.tell("api.test", ADDRESSES[:1])
    until(lambda: requests.get(proxy.url, timeout=DEADLINE_S).status_code, 200)
    same(proxy.stop(), 0)


def a_service_has_ports_weights_and_backups(binaries, dns, port):
    dns.process.kill()
    dns.services = [f"_http._tcp.test,{host},{port},{priority},{weight}" for host, priority, weight in
                    [("a.test", 10, 3), ("b.test", 10, 0), ("c.test", 20, 1)]]
    with open(dns.hosts, "w") as hosts:
        hosts.writelines(f"{ip} {name}.test\n" for ip, name in zip(ADDRESSES, "abc"))
    dns.start()
    proxy = tidegate(binaries, dns, "http://_http._tcp.test", "srv")
    until(lambda: {ip: one["weight"] for ip, one in upstreams(proxy).items()}, dict(zip(ADDRESSES, [3, 1, 1])))
    told = proxy.find(r"upstream addresses of _http._tcp.test: (.*)")
    assert f"+{ADDRESSES[2]}:{port}(1 backup)" in told, told
    counts = answers(proxy, 80)
    assert counts[ADDRESSES[0]] > 2 * counts[ADDRESSES[1]] > 0, counts
    same(proxy.stop(), 0)


CHECKS = [
    addresses_come_and_go_under_requests, a_drain_of_a_name_drains_its_addresses,
    an_unresolved_name_gets_503_until_it_is_known, a_service_has_ports_weights_and_backups,
]


def main(binaries):
    port = free_port()
    origin = os.path.join(binaries, "tidegate-origin")
    origins = [Process(origin, "--listen", f"{ip}:{port}", "--message", ip) for ip in ADDRESSES]
    for one in origins:
        one.find("listening on")
    dns = Dns()
    try:
        for check in CHECKS:
            started = time.monotonic()
            check(binaries, dns, port)
            print(f"names: {check.__name__.replace('_', ' ')}: {time.monotonic() - started:.1f} s")
    finally:
        for one in [dns.process, *origins]:
            one.kill()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release"))
