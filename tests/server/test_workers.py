"""Processes of the server: several behind a port, models that can't be loaded, ports that can't be had, memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from auricle.errors import InputError
from auricle.hub import ModelName, find
from auricle.server.run import listen
from auricle.server.settings import Settings
from auricle.server.workers import Workers
from tests.server.conftest import asking, wait_until
from tests.server.processes import Served, ask, command, endless, free_port, refused, serving

QUESTION = json.dumps(asking("What does the speaker say?", "sentence.wav")).encode()


def test_metrics_add_up_over_workers(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as served:
        everybody_is_ready(served, 2)
        asked = [threading.Thread(target=answered, args=(served, endless(words=20))) for _ in range(12)]
        for thread in asked:
            thread.start()
        wait_until(lambda: served.metric("auricle_requests_running") > 1)
        for thread in asked:
            thread.join()
        for _ in range(6):  # whichever worker is asked
            assert served.metric('auricle_requests_total{route="/v1/chat/completions",status="200"}') == 12
            assert served.metric('auricle_tokens_total{kind="prompt"}') % 12 == 0
            assert served.metric("auricle_ttft_seconds_count") == 12
        wait_until(lambda: served.metric("auricle_requests_running") == 0)
        own = served.metric("auricle_memory_own_bytes")
        assert own == pytest.approx(sum(memory(pid)["RssAnon"] for pid in served.children()), rel=0.1)
        assert served.end() == 0
    assert not list(tmp_path.glob("auricle-metrics-*")), "the folder of the metrics is taken away"


def test_a_killed_worker_is_restarted(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as served:
        everybody_is_ready(served, 2)
        for _ in range(4):
            answered(served, QUESTION)
        first, second = served.children()
        os.kill(first, signal.SIGKILL)
        for _ in range(4):
            answered(served, QUESTION)  # by the other one
        wait_until(lambda: len(served.children()) == 2)
        wait_until(lambda: len(served.events("ready")) == 3)
        assert first not in served.children()
        assert second in served.children()
        assert served.events("worker ended") == [
            {**served.events("worker ended")[0], "pid": first, "status": -signal.SIGKILL}
        ]
        assert served.metric('auricle_requests_total{route="/v1/chat/completions",status="200"}') == 8
        gauges = {re.search(r"_(\d+)\.db", path.name)[1] for path in tmp_path.glob("auricle-metrics-*/gauge_live*")}  # type: ignore[index]
        assert gauges == {str(pid) for pid in served.children()}
        assert served.end() == 0


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as served, closing(served.connect()) as streaming:
        stream = ask(streaming, endless(stream=True, words=100))
        workers = served.children()
        served.process.kill()
        assert stream.read().decode().endswith("data: [DONE]\n\n"), "what runs is finished also then"
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20)
        assert refused(served)


def test_workers_share_the_mapped_weights(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "3") as served:
        everybody_is_ready(served, 3)
        wait_until(lambda: all(answered(served, QUESTION) and weights(pid)["Rss"] > 0 for pid in served.children()))
        used = [weights(pid) for pid in served.children()]
        whole = max(worker["Rss"] for worker in used)
        assert sum(worker["Rss"] for worker in used) > 2 * whole, "each of them uses the weights"
        assert sum(worker["Pss"] for worker in used) < 1.05 * whole
        assert not any(worker["Private_Dirty"] for worker in used)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_can_not_be_loaded_ends_it(damaged: Path, workers: str) -> None:
    told = serve("--model", str(damaged), "--workers", workers)
    assert told.returncode == 2
    (line,) = [line for line in told.stderr.splitlines() if line.startswith("auricle:")]
    assert str(damaged / "model.safetensors") in line
    assert "Traceback" not in told.stderr


def test_a_worker_that_dies_before_any_was_ready_ends_it(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", wait=False) as served:
        wait_until(lambda: len(served.children()) == 2)
        os.kill(served.children()[0], signal.SIGKILL)
        assert served.process.wait(30) == 1
        assert "auricle: a worker was killed by signal 9 before it was ready" in served.log.read_text()


def test_processors_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    have = len(os.sched_getaffinity(0))
    assert Workers(Settings(), [], 2)._settings.threads == max(1, have // 2)
    assert Workers(Settings(), [], 64)._settings.threads == max(1, have // 64)
    assert Workers(Settings(threads=3), [], 2)._settings.threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert Workers(Settings(), [], 2)._settings.threads is None


# --- addresses


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_one_line(workers: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        told = serve("--port", str(port), "--workers", workers)
    assert told.returncode == 2
    (line,) = lines_of(told)
    assert line == (
        f"auricle: 127.0.0.1:{port} can't be listened on (Address already in use): "
        "another program has that port; end it, or choose another --port"
    )


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7", "a..b", "x" * 64, "256.256.256.256"])
def test_a_host_that_is_not_here_is_one_line(host: str) -> None:
    told = serve("--host", host)
    assert told.returncode == 2
    (line,) = lines_of(told)
    assert re.fullmatch(rf"auricle: {re.escape(host)}:\d+ can't be listened on \(.+\): choose another --host; .*", line)


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80, reason="port 80 is for everybody here"
)
def test_a_port_of_root_is_one_line() -> None:
    """Seen from a process that gives up its rights, where it has them."""
    program = """
import os
from auricle.errors import InputError
from auricle.server.run import listen
for one in listen("127.0.0.1", 0):
    one.close()
if os.getuid() == 0:
    os.setuid(65534)
try:
    listen("127.0.0.1", 80)
except InputError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert told.stdout == (
        "127.0.0.1:80 can't be listened on (Permission denied): "
        "ports below 1024 are for root; choose a --port from 1024 on\n"
    )


def test_every_address_of_a_name_is_listened_on() -> None:
    port = free_port()
    families = {kind for kind, *_ in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
    listening = listen("localhost", port)
    assert {one.family for one in listening} == families
    with pytest.raises(InputError, match="Address already in use"):
        listen("localhost", port)
    for one in listening:
        one.close()


def test_two_colons_are_every_address() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    port = free_port()
    (listening,) = listen("::", port)
    with closing(listening), closing(socket.create_connection(("127.0.0.1", port), 5)):
        pass


# --- memory


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    """After 2,000 requests within 5 % of after 200: prompts that differ, streams, refusals, clients that leave.

    What is kept of earlier requests is full by then, with 8 MB: a larger store fills for longer, and memory with it.
    """
    with serving(tmp_path, "--max-running", "4", "--cache-mb", "8") as served:
        used = {}
        for done in range(1, 2001):
            one_of_many(served, done)
            if done in (200, 1000, 2000):
                used[done] = memory(served.process.pid)["VmRSS"]
        print({done: f"{size / 1e6:.1f} MB" for done, size in used.items()})
        assert used[2000] < 1.05 * used[200]
        assert served.end() == 0


def one_of_many(served: Served, number: int) -> None:
    body = asking(f"Number {number}: what is said?", "sentence.wav", stream=number % 3 == 0, max_tokens=12)
    if number % 10 == 0:
        body["messages"][0]["content"][1]["input_audio"]["data"] = "no base64"
    with closing(served.connect()) as connection:
        answer = ask(connection, json.dumps(body).encode())
        assert answer.status == (200 if number % 10 else 400), answer.read()
        if number % 7:
            answer.read()


# --- what the tests share


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The built-in model, its weights cut off in their middle."""
    folder = tmp_path / "damaged"
    shutil.copytree(find(ModelName("tiny")), folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5_000_000)
    return folder


def serve(*flags: str) -> subprocess.CompletedProcess[str]:
    flags = flags if "--port" in flags else ("--port", str(free_port()), *flags)
    return subprocess.run(command("--log", "json", *flags), capture_output=True, text=True, timeout=60)


def lines_of(told: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command said to its user, but for notes."""
    return [line for line in told.stderr.splitlines() if not line.startswith("note:")]


def everybody_is_ready(served: Served, count: int) -> None:
    wait_until(lambda: len(served.events("ready")) == count)


def answered(served: Served, body: bytes) -> bool:
    with closing(served.connect()) as connection:
        answer = ask(connection, body)
        assert answer.status == 200, answer.read()
        answer.read()
    return True


def memory(process: int) -> dict[str, int]:
    """What the system says of a process's memory, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: 1024 * int(size.split()[0]) for name, size in (line.split(":", 1) for line in lines) if "kB" in size}


def weights(process: int) -> dict[str, int]:
    """Memory of the mapped weights of a process, in KiB: Rss is what it uses, Pss its share of that."""
    sums, counted = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = line.endswith(".safetensors")
        elif counted and name in sums:
            sums[name] += int(rest.split()[0])
    return sums
