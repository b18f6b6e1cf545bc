"""What the scripts here share: processes that end with the script, and a few looks into /proc."""

import contextlib
import json
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEADLINE_S = 10


def raise_descriptor_limit():
    """To the hard limit; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def binary(name):
    path = ROOT / "target" / "release" / name
    if not path.exists():
        sys.exit(f"there is no {path.relative_to(ROOT)}: run `cargo build --release` first")
    return str(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command, port, core=None):
    """A process that listens on `port`, pinned to `core` if one is given; gone with the block."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    # Nobody's own settings may leak in.
    ours = ("TIDEGATE_", "HTTP_SERVER_URL_", "HTTPS_SERVER_URL_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    told = tempfile.TemporaryFile("w+")
    child = subprocess.Popen(
        pinned + command, cwd="/", env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told,
    )
    try:
        if not listens(port, child):
            told.seek(0)
            sys.exit(f"{command[0]} does not listen on port {port}\n{told.read()}")
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def listens(port, child):
    """Waits until it does; false when it ended, or took too long."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        time.sleep(0.02)
    return False


def get(url):
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return answer.read()


def metrics(admin_port):
    return json.loads(get(f"http://127.0.0.1:{admin_port}/metrics?format=json"))


def family(pid):
    """A process and its children: the workers of nginx and HAProxy."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [int(child) for child in children]


def cpu_s(pid):
    """User and system time of a process and its children so far, in seconds."""
    user = system = 0
    for one in family(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    tick = os.sysconf("SC_CLK_TCK")
    return user / tick, system / tick


def resident_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
