"""Other people's TLS against the real binary: curl and `openssl s_client` with OpenSSL, Python's `ssl` below
http.client, requests and websockets, and sslyze with what Mozilla recommends.

Certificates are made by openssl, and so is the OCSP response. Every wait has a deadline.
"""

import asyncio
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import requests
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from clients import DEADLINE_S, MIB, Process, digest, same

TOKEN = "a-token-of-32-characters-or-more"


def run(*command, data=b"", code=0, **options):
    """Standard output and error together, of a program that ends with `code` (`None`: with any)."""
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=2 * DEADLINE_S, **options)
    if code is not None:
        same(done.returncode, code, " ".join(command) + ": " + done.stdout.decode(errors="replace")[-600:])
    return done.stdout.decode(errors="replace")


class Certificates:
    """An authority, and what it signs, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = self.path("ca.pem")
        self.openssl("req", "-x509", "-new", *self.key("ca", "EC"), "-out", self.ca, "-days", "30",
                     "-subj", "/CN=Foreign CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *words):
        return run("openssl", *words, cwd=self.folder)

    def key(self, name, kind):
        options = {"EC": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA": ["rsa:2048"]}[kind]
        return ["-newkey", *options, "-nodes", "-keyout", self.path(name + ".key")]

    def leaf(self, name, kind, names, days=90):
        """Files with a certificate and with its key."""
        self.openssl("req", "-new", *self.key(name, kind), "-out", name + ".csr", "-subj", "/CN=" + name)
        with open(self.path(name + ".ext"), "w") as file:
            file.write(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n"
                       "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n")
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", self.ca, "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", str(days), "-sha256", "-extfile", name + ".ext", "-out", name + ".pem")
        return self.path(name + ".pem"), self.path(name + ".key")

    def ocsp(self, name):
        """A file with what the authority says of a certificate: it is good."""
        serial = self.openssl("x509", "-in", name + ".pem", "-noout", "-serial").strip().split("=")[1]
        with open(self.path("index.txt"), "w") as file:
            file.write(f"V\t400101000000Z\t\t{serial}\tunknown\t/CN={name}\n")
        self.openssl("ocsp", "-issuer", self.ca, "-cert", name + ".pem", "-no_nonce", "-reqout", name + ".req")
        self.openssl("ocsp", "-index", "index.txt", "-CA", self.ca, "-rsigner", self.ca, "-rkey", "ca.key",
                     "-reqin", name + ".req", "-respout", name + ".ocsp", "-ndays", "7")
        return self.path(name + ".ocsp")


class House:
    """Two origins and tidegate in front of them, with TLS."""

    def __init__(self, binaries):
        self.binaries = binaries
        self.scratch = tempfile.TemporaryDirectory()
        self.certificates = Certificates(self.scratch.name)
        cert, key = self.certificates.leaf("localhost", "EC", "DNS:localhost,IP:127.0.0.1")
        ocsp = self.certificates.ocsp("localhost")
        rsa, rsa_key = self.certificates.leaf("rsa.test", "RSA", "DNS:rsa.test,DNS:*.rsa.test")
        messages = ["Response from server 1", "Response from server 2"]
        self.processes = []
        self.origins = []
        for message in messages:
            process = self.start("tidegate-origin", "--port", "0", "--message", message)
            self.origins.append(process.find(r"listening on (http://\S+)"))
        upstreams = [flag for url in self.origins for flag in ("--upstream", url)]
        certs = ["--tls-cert", f"{cert} key={key} ocsp={ocsp}", "--tls-cert", f"{rsa} key={rsa_key}"]
        self.certs = certs
        self.proxy = self.start("tidegate", *upstreams, *certs, "--listen", "https://127.0.0.1:0",
                                "--admin", "127.0.0.1:0", "--access-log", "off", "--drain-timeout", "500ms")
        self.proxy.find(r"\bready\b")
        self.admin = "http://" + self.proxy.find(r"admin.*address=(\S+)")
        self.port = self.port_of(self.proxy)
        self.url = f"https://localhost:{self.port}"
        self.ca = self.certificates.ca

    def start(self, program, *words, **options):
        process = Process(os.path.join(self.binaries, program), *words, **options)
        self.processes.append(process)
        return process

    @staticmethod
    def port_of(process):
        """Of the listener that speaks TLS."""
        process.find(r"\bready\b")
        line = next(l for l in process.lines if "listening" in l and "admin" not in l)
        return int(re.search(r"address=\S+:(\d+)", line).group(1))

    def metric(self, name):
        return requests.get(self.admin + "/metrics?format=json", timeout=DEADLINE_S).json()["tls"][name]

    def context(self, **options):
        context = ssl.create_default_context(cafile=self.ca)
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def connect(self, context=None, name="localhost"):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)
        return (context or self.context()).wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False)

    def curl(self, *words, **options):
        return run("curl", "--silent", "--show-error", "--max-time", str(DEADLINE_S), *words, **options)

    def s_client(self, *words, data=b"", code=0):
        """`openssl s_client`, with what it is to send: the connection ends with its answer, or with Q."""
        return run("openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", self.ca, *words,
                   data=data, code=code)


CHECKS = []
CLOSE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def check(function):
    CHECKS.append(function)
    return function


def has(text, *parts):
    for part in parts:
        if not re.search(part, text):
            raise AssertionError(f"no {part!r} in {text[-3000:]!r}")


@check
def curl_trusts_whom_it_is_told_to_trust(house):
    told = house.curl("--cacert", house.ca, "-w", " %{http_version} %{ssl_verify_result}", house.url + "/")
    has(told, r"^Response from server [12] 1\.1 0$")
    has(house.curl(house.url + "/", code=60), "unable to get local issuer certificate")
    has(house.curl("-k", house.url + "/"), "^Response from server")
    wrong = house.curl("--cacert", house.ca, "--resolve", f"other.test:{house.port}:127.0.0.1",
                       f"https://other.test:{house.port}/", code=60)
    has(wrong, "no alternative certificate subject name matches")


@check
def curl_speaks_either_version(house):
    for flags, words in [(["--tls-max", "1.2"], r"TLSv1\.2 / ECDHE-ECDSA-AES"), (["--tlsv1.3"], r"TLSv1\.3 / TLS_AES")]:
        told = house.curl("-v", "--cacert", house.ca, *flags, house.url + "/")
        has(told, words, "ALPN: server accepted http/1.1", "using HTTP/1.1", "Response from server")
    old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]
    # rustls looks for signatures first, which TLS 1.1 does not name.
    has(house.curl("-k", *old, house.url + "/", code=35), "alert (protocol version|handshake failure)")


@check
def curl_gets_bodies_of_every_framing(house):
    for path in ["/bytes/0", "/bytes/1", "/bytes/16384", "/bytes/10485760", "/chunked/3000000", "/until-close/300000"]:
        with tempfile.NamedTemporaryFile() as file:
            house.curl("--cacert", house.ca, "-o", file.name, house.url + path)
            got = digest(file.read())
        same(got, digest(requests.get(house.origins[0] + path, timeout=DEADLINE_S).content), path)


@check
def curl_uploads_with_a_length_and_in_chunks(house):
    body = os.urandom(5 * MIB)
    for flags in [["--data-binary"], ["-H", "Expect:", "--data-binary"], ["--tls-max", "1.2", "--upload-file"]]:
        with tempfile.NamedTemporaryFile() as file:
            source = "-" if flags[-1] == "--upload-file" else "@-"
            house.curl("--cacert", house.ca, "-o", file.name, *flags, source, house.url + "/echo-body", data=body)
            same(digest(file.read()), digest(body), " ".join(flags))


@check
def curl_is_shown_the_certificate_of_the_name_that_it_asks_for(house):
    for name in ["rsa.test", "a.rsa.test"]:
        told = house.curl("-v", "--cacert", house.ca, "--resolve", f"{name}:{house.port}:127.0.0.1",
                          f"https://{name}:{house.port}/")
        has(told, "subject: CN=rsa.test", "SSL certificate verify ok", "Response from server")


@check
def curl_reuses_connections_and_resumes_sessions(house):
    flags = ["--cacert", house.ca, "-o", "/dev/null", "-w", "%{num_connects} "]
    same(house.curl(*flags, *[house.url + "/"] + ["-o", "/dev/null", house.url + "/"] * 4).split(), list("10000"))
    # With TLS 1.2 curl takes no tickets (SSL_OP_NO_TICKET), and tidegate keeps no sessions of its clients.
    before = house.metric("resumed")
    connects = house.curl(*flags, "-H", "Connection: close", house.url + "/",
                          *["-o", "/dev/null", house.url + "/"] * 4)
    same(connects.split(), list("11111"))
    same(house.metric("resumed") - before, 4, "resumed")


@check
def curl_that_speaks_plain_http_is_told_so(house):
    told = house.curl("-i", f"http://localhost:{house.port}/")
    has(told, "^HTTP/1.1 400 Bad Request", "(?i)content-type: text/plain", "This port speaks TLS")


@check
def termination_with_a_token_as_the_seed_has_it(house):
    words = ["--upstream", house.origins[0], *house.certs, "--listen", "https://127.0.0.1:0", "--admin", "off",
             "--access-log", "off", "--api-key", TOKEN]
    proxy = house.start("tidegate", *words)
    url = f"https://localhost:{house.port_of(proxy)}/test"
    status = ["-o", "/dev/null", "-w", "%{http_code}"]
    same(house.curl("-k", *status, url), "401")
    same(house.curl("-k", *status, url, "-H", "X-API-Key: wrong"), "401")
    same(house.curl("-k", *status, url.replace("/test", "/status/200"), "-H", "X-API-Key: " + TOKEN), "200")
    direct = requests.get(house.origins[0] + "/test", timeout=DEADLINE_S)
    told = house.curl("-k", "-w", " %{http_code}", url, "-H", "X-API-Key: " + TOKEN)
    same(told, f"{direct.text} {direct.status_code}")
    proxy.kill()


@check
def s_client_agrees_on_versions_suites_and_groups(house):
    for version, suite in [("-tls1_2", "ECDHE-ECDSA-AES256-GCM-SHA384"), ("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                           ("-tls1_2", "ECDHE-ECDSA-CHACHA20-POLY1305"), ("-tls1_3", "TLS_AES_256_GCM_SHA384"),
                           ("-tls1_3", "TLS_AES_128_GCM_SHA256"), ("-tls1_3", "TLS_CHACHA20_POLY1305_SHA256")]:
        flag = "-cipher" if version == "-tls1_2" else "-ciphersuites"
        # With TLS 1.2 the groups are of the certificate as well.
        for group in ["X25519:P-256", "P-256"] if version == "-tls1_2" else ["X25519", "P-256", "P-384"]:
            told = house.s_client(version, flag, suite, "-groups", group, "-servername", "localhost",
                                  "-verify_return_error", "-ign_eof", data=CLOSE)
            protocol = version[1:].replace("tls1_", "TLSv1.")
            has(told, f"New, {protocol}, Cipher is {suite}", r"Verify return code: 0 \(ok\)", "Response from server")
    for refused in [["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-SHA"],
                    ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256", "-servername", "rsa.test"]]:
        has(house.s_client(*refused, code=1), "alert (protocol version|handshake failure)")


@check
def s_client_resumes_sessions(house):
    before = house.metric("resumed")
    told = house.s_client("-tls1_2", "-reconnect", data=b"Q\n")
    same(len(re.findall("^Reused, TLSv1.2", told, re.M)), 5, told)
    for version in ["-tls1_2", "-tls1_3"]:
        session = house.certificates.path("session" + version)
        has(house.s_client(version, "-sess_out", session, "-ign_eof", data=CLOSE), "^New, |\nNew, ")
        has(house.s_client(version, "-sess_in", session, "-ign_eof", data=CLOSE), "\nReused, TLSv1", "Response from")
        # Under another name it is no session.
        has(house.s_client(version, "-sess_in", session, "-servername", "rsa.test", "-ign_eof", data=CLOSE), "\nNew, ")
    same(house.metric("resumed") - before, 7)


@check
def s_client_and_alpn(house):
    for offered, words in [("http/1.1", "ALPN protocol: http/1.1"), ("h2,http/1.1", "ALPN protocol: http/1.1")]:
        has(house.s_client("-alpn", offered, data=b"Q\n"), words)
    has(house.s_client(data=b"Q\n"), "No ALPN negotiated")
    # RFC 7301 section 3.2: no protocol in common is fatal.
    has(house.s_client("-alpn", "h2", code=1), "alert no application protocol")


@check
def s_client_is_shown_the_right_certificate(house):
    for name, subject, key in [(["-servername", "rsa.test"], "rsa.test", "RSA-PSS"),
                               (["-servername", "localhost"], "localhost", "ECDSA"),
                               (["-servername", "nobody.test"], "localhost", "ECDSA"),
                               (["-noservername"], "localhost", "ECDSA")]:
        for version in ["-tls1_2", "-tls1_3"]:
            has(house.s_client(version, *name, data=b"Q\n"), f"subject=CN = {subject}\n", f"Peer signature type: {key}")


@check
def s_client_is_told_that_the_certificate_is_good(house):
    for version in ["-tls1_2", "-tls1_3"]:
        told = house.s_client(version, "-status", "-servername", "localhost", data=b"Q\n")
        has(told, r"OCSP Response Status: successful \(0x0\)", "Cert Status: good")
    has(house.s_client("-status", "-servername", "rsa.test", data=b"Q\n"), "OCSP response: no response sent")


@check
def s_client_may_not_renegotiate_but_renew_its_keys(house):
    told = house.s_client("-tls1_2", data=b"R\n", code=None)
    has(told, "RENEGOTIATING", "no renegotiation|handshake failure|unexpected message|closed|reset")
    # K asks the server for new keys as well (RFC 8446 section 4.6.3); the answer comes under them. s_client knows
    # commands only at the beginning of what it reads, so that takes a pipe and some patience.
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{house.port}", "-CAfile", house.ca, "-tls1_3"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    try:
        said, lock = bytearray(), threading.Condition()

        def read():
            while piece := child.stdout.read(65536):
                with lock:
                    said.extend(piece)
                    lock.notify_all()

        def wait(part):
            with lock:
                assert lock.wait_for(lambda: part in said, DEADLINE_S), (part, bytes(said)[-2000:])

        threading.Thread(target=read, daemon=True).start()
        wait(b"Verify return code")
        child.stdin.write(b"K\n")
        wait(b"KEYUPDATE")
        child.stdin.write(CLOSE)
        wait(b"Response from server")
    finally:
        child.kill()
        child.wait()


@check
def the_end_is_announced(house):
    for path, version in [("/bytes/1000", "TLSv1_2"), ("/bytes/1000", "TLSv1_3"), ("/until-close/300000", "TLSv1_3")]:
        context = house.context(maximum_version=ssl.TLSVersion[version])
        with house.connect(context) as tls:
            tls.sendall(CLOSE.replace(b"GET /", b"GET " + path.encode()))
            # Without close_notify this raises: ragged ends are not suppressed.
            while tls.recv(65536):
                pass


@check
def http_client_keeps_one_connection(house):
    for version in ["TLSv1_2", "TLSv1_3"]:
        context = house.context(maximum_version=ssl.TLSVersion[version])
        connection = http.client.HTTPSConnection("localhost", house.port, context=context, timeout=DEADLINE_S)
        connection.connect()
        kept = connection.sock
        for n in range(50):
            connection.request("GET", f"/bytes/{n * 997}")
            answer = connection.getresponse()
            same((answer.status, len(answer.read())), (200, n * 997))
            same(connection.sock, kept, "the connection")
        # No more than the sockets on the way hold: whoever sends does not read meanwhile.
        parts = [bytes([n]) * (n * 23 + 1) for n in range(256)]
        connection.request("POST", "/echo-body", body=iter(parts), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        same(digest(connection.getresponse().read()), digest(b"".join(parts)))
        connection.request("GET", "/echo")
        text = connection.getresponse().read().decode().lower()
        has(text, "x-forwarded-proto: https\r\n")
        connection.close()


@check
def requests_in_a_session(house):
    with requests.Session() as session:
        session.verify = house.ca
        session.trust_env = False
        for n in range(20):
            answer = session.get(f"{house.url}/bytes/{n * 10_000}", timeout=DEADLINE_S)
            same((answer.status_code, len(answer.content)), (200, n * 10_000))
        body = os.urandom(MIB)
        same(digest(session.post(house.url + "/echo-body", data=body, timeout=DEADLINE_S).content), digest(body))
        started = time.monotonic()
        with session.get(house.url + "/stream/20?every=50", stream=True, timeout=DEADLINE_S) as answer:
            lines = answer.iter_lines(chunk_size=1)
            next(lines)
            first = time.monotonic() - started
            same(1 + sum(1 for _ in lines), 20)
        last = time.monotonic() - started
        assert first < last / 2, f"the first line came after {first:.3f} s of {last:.3f} s"
    try:
        requests.get(house.url + "/", timeout=DEADLINE_S)
        raise AssertionError("requests trusts anybody")
    except requests.exceptions.SSLError:
        pass


@check
def websockets_over_tls(house):
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def talk():
        async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
            port = server.sockets[0].getsockname()[1]
            words = ["--upstream", f"http://127.0.0.1:{port}", *house.certs, "--listen", "https://127.0.0.1:0",
                     "--admin", "off", "--access-log", "off"]
            proxy = house.start("tidegate", *words)
            url = f"wss://localhost:{await asyncio.to_thread(house.port_of, proxy)}/"

            async def one(size, count):
                context = house.context()
                async with connect(url, ssl=context, proxy=None, max_size=None, compression=None) as socket:
                    for _ in range(count):
                        message = os.urandom(size)
                        await socket.send(message)
                        same(digest(await socket.recv()), digest(message))

            await one(0, 1)
            await one(16 * MIB, 1)
            await asyncio.gather(*[one(size, 20) for size in [1, 125, 126, 16_384, 65_536] * 4])
            proxy.kill()

    asyncio.run(asyncio.wait_for(talk(), 3 * DEADLINE_S))


@check
def a_certificate_of_its_own_is_trusted_by_the_line_that_it_prints(house):
    home = tempfile.mkdtemp()
    user = {}
    try:
        if os.geteuid() == 0:
            # Root's certificates would lie in /var/lib, where a test has no business.
            os.chown(home, 65534, 65534)
            user = {"user": 65534, "group": 65534, "extra_groups": []}
        words = ["--upstream", house.origins[0], "--tls-self-signed", "localhost", "--listen", "https://127.0.0.1:0",
                 "--admin", "off", "--access-log", "off"]
        proxy = house.start("tidegate", *words, environment={"HOME": home}, **user)
        port = house.port_of(proxy)
        line = proxy.find(r"(curl --cacert \S+ https://localhost)")
        assert home in line, line
        has(house.curl(*line.split()[1:-1], f"https://localhost:{port}/"), "^Response from server 1")
        proxy.kill()
        # The same authority after a restart: who trusted it trusts it still.
        again = house.start("tidegate", *words, environment={"HOME": home}, **user)
        has(house.curl(*line.split()[1:-1], f"https://localhost:{house.port_of(again)}/"), "^Response from server 1")
        again.kill()
    finally:
        shutil.rmtree(home)


@check
def upstreams_over_tls_take_turns_as_the_seed_has_it(house):
    class Origin(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.server.asked += 1
            body = self.server.message.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    environment, servers = {}, []
    for n in [1, 2]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        server.message, server.asked = f"Response from HTTPS server {n}", 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(house.certificates.path("localhost.pem"), house.certificates.path("localhost.key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        environment[f"HTTPS_SERVER_URL_{n}"] = f"https://localhost:{server.server_port}"
    words = ["--listen", "127.0.0.1:0", "--admin", "off", "--access-log", "off"]
    try:
        proxy = house.start("tidegate", *words, "--upstream-tls-ca", house.ca, environment=environment)
        if proxy.find(r"(\bready\b|not there yet)") != "ready":
            return "NOT RUN: this tidegate has no TLS towards upstreams yet"
        answers = [house.curl(f"http://localhost:{house.port_of(proxy)}/") for _ in range(4)]
        same(sorted(set(answers)), [f"Response from HTTPS server {n}" for n in [1, 2]])
        same((answers[:2], [server.asked for server in servers]), (answers[2:], [2, 2]))
        proxy.kill()
        # Whom nobody vouches for is not asked.
        asked = [server.asked for server in servers]
        proxy = house.start("tidegate", *words, environment=environment)
        same(house.curl("-o", "/dev/null", "-w", "%{http_code}", f"http://localhost:{house.port_of(proxy)}/"), "503")
        proxy.find("issuer of the peer's certificate is not trusted")
        same([server.asked for server in servers], asked)
        proxy.kill()
    finally:
        for server in servers:
            server.shutdown()


@check
def sslyze_finds_what_mozilla_recommends(house):
    # Believed is the authority of this test, where a server on the Internet needs a public one: nothing else is left
    # out. (That sslyze itself leaves out Mozilla's Strict-Transport-Security is its own choice.)
    for name in ["localhost", "rsa.test"]:
        told = run("sslyze", "--mozilla_config=intermediate", "--certinfo_ca_file", house.ca, "--sni", name,
                   f"localhost:{house.port}", code=None)
        has(told, f"CN={name}|Common Name: +{name}", "OK - Compliant")


@check
def afterwards_everything_is_home(house):
    deadline = time.monotonic() + DEADLINE_S
    address = house.admin + "/metrics?format=json"
    while True:
        metrics = requests.get(address, timeout=DEADLINE_S).json()
        if not metrics["connections"]["current"] and not metrics["buffers"]["used"]:
            break
        assert time.monotonic() < deadline, json.dumps(metrics)
        time.sleep(0.02)
    same(house.proxy.stop(), 0, "the exit code after SIGTERM")


def main():
    house = House(os.path.abspath(sys.argv[1]))
    try:
        for function in CHECKS:
            started = time.monotonic()
            told = function(house)
            took = time.monotonic() - started
            print(f"ok   {took:6.2f} s  {function.__name__.replace('_', ' ')}{': ' + told if told else ''}", flush=True)
    except BaseException:
        print(f"FAIL {function.__name__.replace('_', ' ')}", flush=True)
        for process in house.processes[2:]:
            print("--- log of a proxy ---", *process.lines[-20:], "---", sep="\n", flush=True)
        raise
    finally:
        for process in house.processes:
            process.kill()
    print(f"{len(CHECKS)} foreign checks of TLS passed")


if __name__ == "__main__":
    main()
