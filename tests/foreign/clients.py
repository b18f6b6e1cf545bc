"""Other people's clients against the real binaries, each check a few lines.

The origins are asked directly first where an answer must be the same through the proxy.
Every wait has a deadline; a check that fails raises, and the log of the proxy is shown.
"""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import requests

DEADLINE_S = 10
MIB = 1024 * 1024


class Process:
    """A child whose stderr is read in a thread and waited for line by line."""

    def __init__(self, *command, environment={}, **options):
        # A home of its own: no .env and no TIDEGATE_... of whoever runs this may leak in.
        strange = ("TIDEGATE_", "HTTP_SERVER_", "HTTPS_SERVER_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(strange)} | environment
        self.home = tempfile.TemporaryDirectory()
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, env=environment, cwd=self.home.name, **options,
        )
        self.lines, self.changed = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stderr:
            with self.changed:
                self.lines.append(line.rstrip())
                self.changed.notify_all()

    def find(self, pattern):
        """The first group of the first line that matches, once there is one."""
        def found():
            return next((m for m in map(re.compile(pattern).search, self.lines) if m), None)
        with self.changed:
            if not self.changed.wait_for(found, DEADLINE_S):
                raise AssertionError(f"no line like {pattern!r} in {self.lines}")
            match = found()
            return match.group(1) if match.groups() else match.group(0)

    def stop(self):
        """SIGTERM; the exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(DEADLINE_S)

    def kill(self):
        self.child.kill()
        self.child.wait()


class House:
    """Two origins and tidegate in front of them."""

    def __init__(self, binaries):
        origin = os.path.join(binaries, "tidegate-origin")
        messages = ["Response from server 1", "Response from server 2"]
        self.processes = [Process(origin, "--port", "0", "--message", m) for m in messages]
        self.origins = [p.find(r"listening on (http://\S+)") for p in self.processes]
        upstreams = [flag for url in self.origins for flag in ("--upstream", url)]
        self.proxy = Process(
            os.path.join(binaries, "tidegate"), *upstreams,
            "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "off",
        )
        self.processes.append(self.proxy)
        self.proxy.find(r"\bready\b")
        self.admin = "http://" + self.proxy.find(r"admin.*address=(\S+)")
        front = next(l for l in self.proxy.lines if "listening" in l and "admin" not in l)
        self.address = re.search(r"address=(\S+)", front).group(1)
        self.url = "http://" + self.address

    def metrics(self):
        return requests.get(self.admin + "/metrics?format=json", timeout=DEADLINE_S).json()

    def served(self):
        """How many requests each origin has served."""
        return [requests.get(url + "/whoami", timeout=DEADLINE_S).json()["requests"] for url in self.origins]


CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def same(got, expected, what=""):
    if got != expected:
        raise AssertionError(f"{what}: got {str(got)[:300]!r}, expected {str(expected)[:300]!r}")


def digest(octets):
    return len(octets), hashlib.sha256(octets).hexdigest()


def curl(*arguments, data=None):
    command = ["curl", "--silent", "--show-error", "--max-time", str(DEADLINE_S), *arguments]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


@check
def curl_sees_the_servers_take_turns(house):
    answers = [curl(house.url + "/").decode() for _ in range(4)]
    same(sorted(set(answers)), ["Response from server 1", "Response from server 2"])
    same(answers[:2], answers[2:])


@check
def curl_reuses_its_connection(house):
    connects = curl(*["--output", "/dev/null", house.url + "/"] * 5, "--write-out", "%{num_connects} ")
    same(connects.decode().split(), ["1", "0", "0", "0", "0"])


@check
def curl_gets_bodies_of_every_framing(house):
    for path in ["/bytes/0", "/bytes/1", "/bytes/10485760", "/chunked/300000", "/until-close/300000"]:
        same(digest(curl(house.url + path)), digest(curl(house.origins[0] + path)), path)


@check
def curl_as_an_http_10_client(house):
    for path in ["/bytes/1000", "/chunked/300000", "/until-close/300000"]:
        same(digest(curl("--http1.0", house.url + path)), digest(curl(house.origins[0] + path)), path)


@check
def curl_uploads_with_a_length_with_expect_and_in_chunks(house):
    body = os.urandom(3 * MIB)
    url = house.url + "/echo-body"
    same(digest(curl("--data-binary", "@-", url, data=body)), digest(body), "with a length, Expect by curl")
    same(digest(curl("--data-binary", "@-", "-H", "Expect:", url, data=body)), digest(body), "without Expect")
    same(digest(curl("--upload-file", "-", url, data=body)), digest(body), "in chunks")
    same(curl("--data-binary", "@-", house.url + "/upload", data=body).strip(), str(len(body)).encode())


@check
def curl_head_options_and_statuses(house):
    head = curl("--head", house.url + "/bytes/1234").decode().lower()
    assert "content-length: 1234" in head, head
    for status in [200, 204, 301, 304, 404, 418, 500, 599]:
        code = curl("--output", "/dev/null", "--write-out", "%{http_code}", f"{house.url}/status/{status}")
        same(int(code), status)
    code = curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "OPTIONS", "--request-target", "*", house.url)
    assert code in (b"200", b"404"), code


@check
def curl_sees_hints_and_trouble(house):
    hints = curl("--include", house.url + "/1xx").decode()
    assert "103" in hints.splitlines()[0] and "HTTP/1.1 200" in hints, hints
    for path in ["/drop", "/reset", "/garbage"]:
        code = curl("-o", "/dev/null", "-w", "%{http_code}", house.url + path)
        same(code, b"502", path)
    same(curl("--data-binary", "@-", "-o", "/dev/null", "-w", "%{http_code}", house.url + "/early",
              data=b"x" * 200_000)[:3], b"200", "/early")


@check
def curl_asks_the_admin_api(house):
    health = json.loads(curl(house.admin + "/health"))
    same(health["status"], "UP")
    metrics = json.loads(curl(house.admin + "/metrics"))
    assert {"requests", "responses", "errors"} <= metrics.keys(), metrics.keys()
    assert b"# TYPE tidegate_" in curl("-H", "Accept: text/plain", house.admin + "/metrics")


@check
def http_client_keeps_one_connection(house):
    connection = http.client.HTTPConnection(house.address, timeout=DEADLINE_S)
    connection.connect()
    socket = connection.sock
    for n in range(50):
        connection.request("GET", f"/bytes/{n}")
        answer = connection.getresponse()
        same((answer.status, len(answer.read())), (200, n))
        same(connection.sock, socket, "the connection")
    connection.request("HEAD", "/bytes/77")
    answer = connection.getresponse()
    same((answer.getheader("Content-Length"), answer.read()), ("77", b""))
    connection.request("GET", "/status/204")
    same(connection.getresponse().read(), b"")
    same(connection.sock, socket, "the connection")
    connection.close()


@check
def http_client_sends_chunks(house):
    connection = http.client.HTTPConnection(house.address, timeout=DEADLINE_S)
    parts = [bytes([n]) * (n * 37 + 1) for n in range(256)]
    for _ in range(3):
        connection.request("POST", "/echo-body", body=iter(parts), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        same(digest(connection.getresponse().read()), digest(b"".join(parts)))
    connection.close()


@check
def http_client_is_told_who_it_is(house):
    connection = http.client.HTTPConnection(house.address, timeout=DEADLINE_S)
    connection.request("GET", "/echo", headers={"X-Forwarded-For": "6.6.6.6", "Connection": "X-Drop", "X-Drop": "1"})
    text = connection.getresponse().read().decode().lower()
    assert "x-forwarded-for: 127.0.0.1\r\n" in text and "6.6.6.6" not in text, text
    assert "x-drop" not in text and "via: " in text and "x-request-id: " in text, text
    connection.close()


@check
def requests_in_a_session(house):
    with requests.Session() as session:
        for n in range(20):
            answer = session.get(f"{house.url}/bytes/{n * 1000}", timeout=DEADLINE_S)
            same((answer.status_code, len(answer.content)), (200, n * 1000))
        body = os.urandom(MIB)
        same(digest(session.post(house.url + "/echo-body", data=body, timeout=DEADLINE_S).content), digest(body))
        parts = (body[at:at + 10_000] for at in range(0, len(body), 10_000))
        same(digest(session.put(house.url + "/echo-body", data=parts, timeout=DEADLINE_S).content), digest(body))
        sent = {"key": ["value", 1, None]}
        same(session.post(house.url + "/echo-body", json=sent, timeout=DEADLINE_S).json(), sent)


@check
def requests_stream_as_it_comes(house):
    started = time.monotonic()
    with requests.get(house.url + "/stream/20?every=50", stream=True, timeout=DEADLINE_S) as answer:
        lines = answer.iter_lines(chunk_size=1)
        next(lines)
        first = time.monotonic() - started
        same(1 + sum(1 for _ in lines), 20)
    last = time.monotonic() - started
    assert first < last / 2, f"the first line came after {first:.3f} s of {last:.3f} s"


@check
def wrk_finds_no_error_and_an_even_share(house):
    seconds = int(os.environ.get("WRK_SECONDS", "3"))
    before = house.served()
    command = ["wrk", "--threads", "1", "--connections", "32", "--duration", f"{seconds}s", house.url + "/"]
    report = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + DEADLINE_S).stdout
    assert "Non-2xx" not in report and "Socket errors" not in report, report
    requests_done = int(re.search(r"(\d+) requests in", report).group(1))
    assert requests_done > 100, report
    shares = [now - then for now, then in zip(house.served(), before)]
    assert abs(shares[0] - shares[1]) <= sum(shares) / 100 + 2, f"shares: {shares}"
    rate = re.search(r"Requests/sec:\s*([\d.]+)", report).group(1)
    return f"{requests_done} requests, {rate} per second, shares {shares}"


@check
def afterwards_everything_is_home(house):
    deadline = time.monotonic() + DEADLINE_S
    while (metrics := house.metrics())["connections"]["current"] or metrics["buffers"]["used"]:
        assert time.monotonic() < deadline, metrics
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
        print("--- log of the proxy ---", *house.proxy.lines[-40:], "---", sep="\n", flush=True)
        raise
    finally:
        for process in house.processes:
            process.kill()
    print(f"{len(CHECKS)} foreign checks passed")


if __name__ == "__main__":
    main()
