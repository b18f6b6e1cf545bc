"""pebble, the test server of Let's Encrypt, and certificates that the real binary orders from it.

pebble rejects every fifth nonce, looks at names where pebble-challtestsrv says they are, and reuses no authorization.
Needs tidegate built with the feature acme. Loopback only; every wait has a deadline.
"""

import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import requests

from clients import DEADLINE_S, Process, same
from tls import Certificates, has, run

PATIENCE_S = 60
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def free_port():
    """One that no connection from here takes meanwhile: the kernel gives those higher ones."""
    while True:
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
            except OSError:
                continue
            return one.getsockname()[1]


class Authority:
    """pebble, and whom it asks where names are."""

    def __init__(self, folder, certificates, ports=None, **settings):
        self.http, self.tls = ports or (free_port(), free_port())
        self.port, self.management, dns, self.names = (free_port() for _ in range(4))
        cert, key = certificates
        self.directory = f"https://localhost:{self.port}/dir"
        file = os.path.join(folder, f"pebble-{self.port}.json")
        with open(file, "w") as config:
            json.dump({"pebble": {
                "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
                "certificate": cert, "privateKey": key, "httpPort": self.http, "tlsPort": self.tls, **settings,
            }}, config)
        self.resolver = Process(
            "pebble-challtestsrv", "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1", "-dns01", f"127.0.0.1:{dns}",
            "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{self.names}",
        )
        quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "20", "PEBBLE_AUTHZREUSE": "0"}
        self.server = Process("pebble", "-config", file, "-dnsserver", f"127.0.0.1:{dns}", environment=quick,
                              start_new_session=True)
        self.root = os.path.join(folder, f"root-{self.port}.pem")
        self.folder = folder
        until(self.root_is_there, True)

    def root_is_there(self):
        try:
            answer = requests.get(f"https://localhost:{self.management}/roots/0", verify=False, timeout=DEADLINE_S)
        except requests.ConnectionError:
            return False
        with open(self.root, "w") as root:
            root.write(answer.text)
        return True

    def move(self, name, addresses):
        """From now on a name is there, or nowhere."""
        management = f"http://127.0.0.1:{self.names}"
        requests.post(management + "/clear-a", json={"host": name + "."}, timeout=DEADLINE_S)
        if addresses:
            requests.post(management + "/add-a", json={"host": name + ".", "addresses": addresses}, timeout=DEADLINE_S)
        else:
            requests.post(management + "/set-servfail", json={"host": name + "."}, timeout=DEADLINE_S)

    def forgive(self, name):
        requests.post(f"http://127.0.0.1:{self.names}/clear-servfail", json={"host": name + "."}, timeout=DEADLINE_S)

    def kill(self):
        self.server.kill()
        self.resolver.kill()


class House:
    """An origin, an authority, and what its certificate is signed by."""

    def __init__(self, binaries):
        self.binaries = binaries
        self.scratch = tempfile.TemporaryDirectory()
        self.certificates = Certificates(self.scratch.name)
        self.own = self.certificates.leaf("localhost", "EC", "DNS:localhost")
        self.processes = [Process(os.path.join(binaries, "tidegate-origin"), "--port", "0", "--message", "origin")]
        self.origin = self.processes[0].find(r"listening on (http://\S+)")
        self.authority = self.another()

    def another(self, **settings):
        authority = Authority(self.scratch.name, self.own, **settings)
        self.processes.append(authority)
        return authority

    def tidegate(self, authority, *words, state=None, names="a.test", ca=None, directory=True):
        """tidegate where the authority looks for it, with a place of its own for what it keeps."""
        state = state or tempfile.mkdtemp(dir=self.scratch.name)
        where = ["--tls-acme-directory", authority.directory] if directory else []
        proxy = Process(
            os.path.join(self.binaries, "tidegate"), "--upstream", self.origin, *where,
            "--listen", f"https://127.0.0.1:{authority.tls},http://127.0.0.1:{authority.http}", "--tls-acme", names,
            "--tls-acme-ca", ca or self.certificates.ca,
            "--admin", "127.0.0.1:0", "--access-log", "off", "--drain-timeout", "500ms", *words,
            environment={"XDG_STATE_HOME": state},
        )
        self.processes.append(proxy)
        proxy.state, proxy.authority = state, authority
        proxy.find(r"\bready\b")
        proxy.admin = "http://" + proxy.find(r"admin.*address=(\S+)")
        return proxy


def until(what, expected, patience=PATIENCE_S):
    """Waits until `what` gives what is expected."""
    end = time.monotonic() + patience
    while (found := what()) != expected:
        assert time.monotonic() < end, f"{found} is not {expected}"
        time.sleep(0.05)


def status(proxy):
    return requests.get(proxy.admin + "/status", timeout=DEADLINE_S).json()


def orders(proxy):
    """How many certificates were issued, and how many orders failed, by name."""
    return {one["name"]: (one["issued"], one["failed"]) for one in status(proxy)["acme"]}


def served(proxy):
    """The names and the fingerprint of each certificate that clients are shown."""
    return {tuple(one["names"]): one["fingerprint_sha256"] for one in status(proxy)["certificates"]}


def get(proxy, name, path="/"):
    """What a client gets that trusts the authority and asks for a name."""
    authority = proxy.authority
    return run("curl", "--silent", "--show-error", "--max-time", str(DEADLINE_S), "--cacert", authority.root,
               "--resolve", f"{name}:{authority.tls}:127.0.0.1", f"https://{name}:{authority.tls}{path}", code=None)


@check
def each_name_gets_a_certificate_by_a_handshake(house):
    proxy = house.tidegate(house.authority, names="a.test,b.test")
    until(lambda: orders(proxy), {"a.test": (1, 0), "b.test": (1, 0)})
    until(lambda: sorted(served(proxy)), [("a.test",), ("b.test",)])
    for name in ["a.test", "b.test"]:
        same(get(proxy, name), "origin")
    has(get(proxy, "c.test"), "no alternative certificate subject name")
    metrics = requests.get(proxy.admin + "/metrics?format=prometheus", timeout=DEADLINE_S).text
    told = [line for line in metrics.splitlines() if line.startswith("tidegate_acme_orders_total")]
    assert 'tidegate_acme_orders_total{name="a.test",outcome="issued"} 1' in told, told
    proxy.find("ordering a certificate.*name=\"?a.test")
    # Nothing that is kept can be read by others, and nothing of a key is told.
    for folder, _, files in os.walk(os.path.join(proxy.state, "tidegate")):
        for file in files:
            if file != "lock":
                same(os.stat(os.path.join(folder, file)).st_mode & 0o777, 0o600, file)
    secrets = []
    for folder, _, files in os.walk(os.path.join(proxy.state, "tidegate")):
        for file in files:
            with open(os.path.join(folder, file)) as text:
                _, _, key = text.read().partition("BEGIN PRIVATE KEY-----\n")
                secrets += [line for line in key.splitlines() if line and "-----" not in line]
    assert len(secrets) >= 3, secrets
    pages = [requests.get(proxy.admin + page, timeout=DEADLINE_S).text for page in ["/status", "/config", "/metrics"]]
    assert not any(secret in text for secret in secrets for text in [*pages, *proxy.lines])
    # After a restart they are there at once, and none is ordered.
    before = served(proxy)
    proxy.kill()
    again = house.tidegate(house.authority, names="a.test,b.test", state=proxy.state)
    same(served(again), before)
    same(get(again, "b.test"), "origin")
    until(lambda: orders(again), {"a.test": (0, 0), "b.test": (0, 0)})
    assert all(one["next_order_at"] > time.time() for one in status(again)["acme"])
    # A certificate that was removed is ordered anew, and the other one stays.
    folder = next(folder for folder, _, files in os.walk(proxy.state) if "account.key" in files)
    os.remove(os.path.join(folder, "a.test.pem"))
    again.child.send_signal(signal.SIGHUP)
    until(lambda: orders(again), {"a.test": (1, 0), "b.test": (0, 0)})
    until(lambda: served(again)[("a.test",)] != before[("a.test",)], True)
    same(served(again)[("b.test",)], before[("b.test",)])
    again.kill()


@check
def a_name_gets_a_certificate_by_a_request(house):
    # What the route demands is not demanded of the authority.
    proxy = house.tidegate(house.authority, "--tls-acme-challenge", "http-01", "--api-key", "0123456789abcdef",
                           "--tls-acme-contact", "ops@a.test")
    until(lambda: orders(proxy), {"a.test": (1, 0)})
    until(lambda: sorted(served(proxy)), [("a.test",)])
    url = f"http://127.0.0.1:{house.authority.http}/.well-known/acme-challenge/x"
    same(requests.get(url, timeout=DEADLINE_S).status_code, 401)
    key = {"X-API-Key": "0123456789abcdef"}
    has(requests.get(url, headers=key, timeout=DEADLINE_S).text, "the message")  # the origin knows no such path
    proxy.kill()


@check
def a_certificate_is_renewed_under_load_and_no_request_fails(house):
    authority = house.another(certificateValidityPeriod=24)  # renewed after 16 s
    proxy = house.tidegate(authority, "--tls-client-ca", house.certificates.ca)
    until(lambda: len(served(proxy)), 1)
    first, failures, requested, stopped = served(proxy), [], [0], threading.Event()

    def load():
        context = ssl.create_default_context(cafile=authority.root)
        while not stopped.is_set():
            try:
                with socket.create_connection(("127.0.0.1", authority.tls), DEADLINE_S) as plain:
                    with context.wrap_socket(plain, server_hostname="a.test") as secure:
                        secure.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
                        answer = b"".join(iter(lambda: secure.recv(4096), b""))
                assert answer.startswith(b"HTTP/1.1 200"), answer
                requested[0] += 1
            except Exception as error:
                failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        until(lambda: served(proxy) != first and orders(proxy)["a.test"][0] >= 3, True)
    finally:
        stopped.set()
        thread.join()
    same(failures, [])
    assert requested[0] > 100, requested
    proxy.kill()


@check
def a_name_that_is_not_ours_holds_nobody_up(house):
    house.authority.move("gone.test", [])
    house.authority.move("elsewhere.test", ["127.0.0.9"])
    proxy = house.tidegate(house.authority, names="gone.test,elsewhere.test,a.test")
    until(lambda: orders(proxy), {"gone.test": (0, 1), "elsewhere.test": (0, 1), "a.test": (1, 0)})
    until(lambda: sorted(served(proxy)), [("a.test",)])
    same(get(proxy, "a.test"), "origin")
    gone, elsewhere, good = status(proxy)["acme"]
    has(gone["last_error"]["text"], "the server could not validate gone.test by tls-alpn-01: ")
    has(elsewhere["last_error"]["text"], "Failed to connect to 127.0.0.9")
    same(good["last_error"], None)
    assert 200 < gone["next_order_at"] - time.time() <= 300, gone
    proxy.find("no certificate was issued: the server could not validate gone.test")
    told = run(os.path.join(house.binaries, "tidegate"), "status", "--admin", proxy.admin.removeprefix("http://"))
    has(told, "no certificate was issued for gone.test: the server could not validate")
    # A reload tries again: somebody may have put it right. It does not hammer.
    house.authority.forgive("gone.test")
    house.authority.move("gone.test", ["127.0.0.1"])
    house.authority.move("elsewhere.test", ["127.0.0.1"])
    proxy.child.send_signal(signal.SIGHUP)
    first = status(proxy)["acme"][0]["last_error"]["at"]
    until(lambda: orders(proxy), {"gone.test": (1, 1), "elsewhere.test": (1, 1), "a.test": (1, 0)})
    assert time.time() - first >= 14
    until(lambda: len(served(proxy)), 3)
    same(get(proxy, "gone.test"), "origin")
    proxy.kill()


@check
def without_a_certificate_handshakes_end_with_an_alert(house):
    house.authority.move("gone.test", [])
    proxy = house.tidegate(house.authority, names="gone.test")
    until(lambda: orders(proxy), {"gone.test": (0, 1)})
    has(get(proxy, "gone.test"), "alert")
    # Neither does one that looks at a name which is not being looked at.
    looked = run("openssl", "s_client", "-connect", f"127.0.0.1:{house.authority.tls}", "-servername", "gone.test",
                 "-alpn", "acme-tls/1", code=None)
    has(looked, "alert")
    proxy.find("There is no certificate of ours to show yet. .nothing_to_show.")
    same(requests.get(f"http://127.0.0.1:{house.authority.http}/", timeout=DEADLINE_S).text, "origin")
    proxy.kill()
    house.authority.forgive("gone.test")


@check
def who_offers_more_than_a_validation_is_none(house):
    proxy = house.tidegate(house.authority)
    until(lambda: len(served(proxy)), 1)
    connect = ["openssl", "s_client", "-connect", f"127.0.0.1:{house.authority.tls}", "-servername", "a.test", "-alpn"]
    has(run(*connect, "acme-tls/1,h2", code=None), "alert")
    has(run(*connect, "acme-tls/1,http/1.1"), "ALPN protocol: http/1.1")
    proxy.kill()


@check
def two_processes_with_one_folder_order_once(house):
    state = tempfile.mkdtemp(dir=house.scratch.name)
    first = house.tidegate(house.authority, state=state)
    other = house.another()
    words = ["--tls-acme-directory", house.authority.directory]
    second = house.tidegate(other, *words, state=state, directory=False)
    until(lambda: len(served(first)), 1)
    until(lambda: served(second), served(first))
    same(sorted([orders(first)["a.test"][0], orders(second)["a.test"][0]]), [0, 1])
    first.kill()
    second.kill()


@check
def an_expired_certificate_is_served_until_there_is_another(house):
    authority = house.another(certificateValidityPeriod=6)
    proxy = house.tidegate(authority)
    until(lambda: len(served(proxy)), 1)
    authority.server.kill()
    until(lambda: status(proxy)["certificates"][0]["days_left"], -1)
    until(lambda: orders(proxy)["a.test"][1] > 0, True)
    proxy.kill()
    again = house.tidegate(authority, state=proxy.state)
    same(len(served(again)), 1)
    has(get(again, "a.test"), "certificate has expired")
    again.find("the certificate in .*a.test.pem has expired")
    again.kill()


@check
def a_reload_adds_a_name_and_takes_one_away(house):
    authority = house.authority
    state = tempfile.mkdtemp(dir=house.scratch.name)
    file = os.path.join(state, "t.toml")

    def write(names):
        with open(file, "w") as config:
            config.write(f"""
listen = ["https://127.0.0.1:{authority.tls}"]
upstream = "{house.origin}"
admin = "127.0.0.1:0"
access-log = "off"
[tls]
certificate = {{ cert = "{house.own[0]}", key = "{house.own[1]}" }}
acme = {json.dumps(names)}
acme-directory = "{authority.directory}"
acme-ca = "{house.certificates.ca}"
""")

    write(["a.test"])
    proxy = Process(os.path.join(house.binaries, "tidegate"), "--config", file, environment={"XDG_STATE_HOME": state})
    house.processes.append(proxy)
    proxy.authority = authority
    proxy.find(r"\bready\b")
    proxy.admin = "http://" + proxy.find(r"admin.*address=(\S+)")
    # The one in a file is served from the first moment on.
    has(run("curl", "--silent", "--cacert", house.certificates.ca, f"https://localhost:{authority.tls}/"), "^origin$")
    until(lambda: sorted(served(proxy)), [("a.test",), ("localhost",)])
    write(["a.test", "b.test"])
    proxy.child.send_signal(signal.SIGHUP)
    until(lambda: sorted(served(proxy)), [("a.test",), ("b.test",), ("localhost",)])
    same(get(proxy, "b.test"), "origin")
    write(["b.test"])
    proxy.child.send_signal(signal.SIGHUP)
    until(lambda: sorted(served(proxy)), [("b.test",), ("localhost",)])
    until(lambda: orders(proxy), {"b.test": (1, 0)})
    proxy.kill()


@check
def what_one_server_issued_is_served_until_another_one_has(house):
    first = house.authority
    second = house.another(ports=(first.http, first.tls))
    second.move("a.test", [])
    state = tempfile.mkdtemp(dir=house.scratch.name)
    file = os.path.join(state, "t.env")

    def write(authority):
        with open(file, "w") as config:
            config.write(f"TIDEGATE_TLS_ACME_DIRECTORY={authority.directory}\n")

    write(first)
    words = ["--env-file", file]
    proxy = house.tidegate(first, *words, state=state, directory=False)
    until(lambda: len(served(proxy)), 1)
    before = served(proxy)
    write(second)
    proxy.child.send_signal(signal.SIGHUP)
    until(lambda: orders(proxy), {"a.test": (0, 1)})
    same(served(proxy), before)
    same(get(proxy, "a.test"), "origin")
    proxy.kill()
    again = house.tidegate(first, *words, state=state, directory=False)
    until(lambda: orders(again), {"a.test": (0, 1)})
    same(served(again), before)
    second.forgive("a.test")
    again.child.send_signal(signal.SIGHUP)
    until(lambda: orders(again), {"a.test": (1, 1)})
    until(lambda: served(again) != before, True)
    again.authority = second
    same(get(again, "a.test"), "origin")
    again.kill()


@check
def what_lies_in_the_way_is_told_before_anything_is_ordered(house):
    state = tempfile.mkdtemp(dir=house.scratch.name)
    first = house.tidegate(house.authority, state=state)
    until(lambda: len(served(first)), 1)
    first.kill()
    folder = next(folder for folder, _, files in os.walk(state) if "account.key" in files)
    file = os.path.join(folder, "a.test.pem")
    os.remove(file)
    os.mkdir(file)
    proxy = house.tidegate(house.authority, state=state)
    until(lambda: orders(proxy), {"a.test": (0, 1)})
    has(status(proxy)["acme"][0]["last_error"]["text"], "a.test.pem is a folder")
    assert not any("ordering a certificate" in line for line in proxy.lines)
    proxy.kill()
    # A pipe holds nobody up.
    os.rmdir(file)
    os.mkfifo(file)
    proxy = house.tidegate(house.authority, state=state)
    until(lambda: orders(proxy), {"a.test": (1, 0)})
    until(lambda: len(served(proxy)), 1)
    proxy.kill()


@check
def an_authority_that_cannot_be_trusted_gets_no_account(house):
    other = os.path.join(house.scratch.name, "other")
    os.mkdir(other)
    proxy = house.tidegate(house.authority, ca=Certificates(other).ca)
    until(lambda: orders(proxy), {"a.test": (0, 1)})
    has(status(proxy)["acme"][0]["last_error"]["text"], "bad_signature")
    proxy.kill()


@check
def an_account_is_bound_to_another_one(house):
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    authority = house.another(externalAccountBindingRequired=True, externalAccountMACKeys={"kid-1": key})
    unbound = house.tidegate(authority)
    until(lambda: orders(unbound), {"a.test": (0, 1)})
    has(status(unbound)["acme"][0]["last_error"]["text"], "set acme-eab-kid and acme-eab-key")
    unbound.kill()
    file = os.path.join(house.scratch.name, "eab.env")

    def write(key):
        with open(file, "w") as config:
            config.write(f"TIDEGATE_TLS_ACME_EAB_KID=kid-1\nTIDEGATE_TLS_ACME_EAB_KEY={key}\n")

    write("A" + key[1:])
    bound = house.tidegate(authority, "--env-file", file)
    until(lambda: orders(bound), {"a.test": (0, 1)})
    has(status(bound)["acme"][0]["last_error"]["text"], "newAccount: the server answers 40")
    # Whoever puts it right is not made to wait for what went wrong.
    write(key)
    bound.child.send_signal(signal.SIGHUP)
    until(lambda: orders(bound), {"a.test": (1, 1)})
    config = requests.get(bound.admin + "/config", timeout=DEADLINE_S).text
    assert "kid-1" in config and key not in config
    assert not any(key in line for line in bound.lines)
    bound.kill()


def main():
    for tool in ["pebble", "pebble-challtestsrv"]:
        if not shutil.which(tool):
            raise SystemExit(f"tests/foreign/acme.py: {tool} is not installed (apt-get install pebble)")
    requests.packages.urllib3.disable_warnings()
    house = House(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release"))
    wanted = sys.argv[2:]
    try:
        for one in CHECKS:
            if not wanted or one.__name__ in wanted:
                one(house)
                print("acme:", one.__name__.replace("_", " "))
    except BaseException:
        for process in house.processes:
            lines = getattr(process, "lines", None) or process.server.lines
            print(*lines[-40:], sep="\n", file=sys.stderr)
        raise
    finally:
        for process in house.processes:
            process.kill()
        house.scratch.cleanup()


if __name__ == "__main__":
    main()
