"""One worker process, spoken to as a gateway speaks to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.transport import Channel, Message, clock_ns, encode, machine
from runtime.transport_arena import Arena
from runtime.worker_spec import WorkerSpec
from tests.runtime.cluster import (
    CHOOSY,
    IN_PLACE,
    REPOSITORY,
    SLOW,
    TINY,
    alive,
    answer_of,
    part_of,
    wait_for,
)
from tests.runtime.tiny_models import PAUSE_S

HOUR_NS = 3600 * 10**9


class WorkerProcess:
    def __init__(self, directory: Path, **options: Any) -> None:
        path = directory / f"{len(list(directory.iterdir()))}.sock"
        spec = WorkerSpec(
            **{
                "key": "w1",
                "model": TINY,
                "start": 0,
                "end": 3,
                "batch": 4,
                "share": 100,
                "endpoints": (f"unix:{path}",),
                "parent": os.getpid(),
                **options,
            }
        )
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.worker", json.dumps(asdict(spec))],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.channels: list[Channel] = []

    def line(self) -> dict[str, Any]:
        """What it says to its parent next."""
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said if said["event"] != "born" else self.line()

    def connect(self) -> Channel:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        channel = Channel(connection, send_timeout_s=30)
        self.channels.append(channel)
        return channel

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start(**options: Any) -> WorkerProcess:
        workers.append(WorkerProcess(tmp_path, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def listen_for(channel: Channel, count: int = 1) -> list[Message]:
    messages: list[Message] = []
    while len(messages) < count:
        received = channel.receive()
        assert received is not None, "the worker hung up"
        messages += received
    return messages


def ask(
    channel: Channel, *requests: tuple[int, np.ndarray[Any, Any]], deadline_ns: int | None = None
) -> None:
    deadline_ns = clock_ns() + HOUR_NS if deadline_ns is None else deadline_ns
    tensors = [memoryview(tensor).cast("B") for _, tensor in requests]
    items = [[identity, len(tensor), deadline_ns, tensor.nbytes, -1, -1] for identity, tensor in requests]
    assert channel.send(["run", items], tensors)


def image(seed: int, samples: int = 1, shape: tuple[int, ...] = (3, 8, 8)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((samples, *shape)).astype(np.float32)


def test_it_says_when_it_is_ready_and_what_it_is(start: Callable[..., WorkerProcess]) -> None:
    worker = start(start=1, share=50)
    said = worker.line()
    assert said["event"] == "ready"
    assert said["pid"] == worker.process.pid
    assert said["enforced_by"] in ("cgroup-v1", "cgroup-v2", "pause")
    assert said["effective_share_pct"] == pytest.approx(50)
    assert set(said["exec_ms"]) == {"1", "2", "4"}
    [hello] = listen_for(worker.connect())
    assert hello.header[0] == "hello"
    facts = hello.header[1]
    assert facts["input"] == ["FP32", [8, 8, 8]]
    assert facts["output"] == ["FP32", [10]]
    assert facts["machine"] == machine()
    assert facts["key"] == "w1"


def test_answers_equal_the_models_whatever_the_batch(start: Callable[..., WorkerProcess]) -> None:
    worker = start()
    worker.line()
    channel = worker.connect()
    listen_for(channel)
    # A pair, one alone, and one that is larger than the batch.
    for samples in ((2, 1), (1,), (9,), (1, 1, 1, 1, 1, 1)):
        requests = [(number, image(number, n)) for number, n in enumerate(samples)]
        ask(channel, *requests)
        answers: dict[int, np.ndarray[Any, Any]] = {}
        while len(answers) < len(samples):
            for message in listen_for(channel):
                kind, items, exec_ms, batch = message.header
                assert kind == "done"
                assert exec_ms > 0
                assert batch == sum(n for _, n, *_ in items)
                assert batch <= 4 or len(items) == 1
                position = 0
                for identity, n, length, place, _ in items:
                    assert place == 0
                    part = message.payload[position : position + length]
                    answers[identity] = np.frombuffer(part, dtype=np.float32).reshape(n, 10)
                    position += length
        for identity, tensor in requests:
            np.testing.assert_allclose(answers[identity], answer_of(TINY, 0, tensor), rtol=1e-4, atol=1e-5)


def test_it_takes_what_is_queued_whenever_it_is_free(start: Callable[..., WorkerProcess]) -> None:
    worker = start(model=SLOW)
    worker.line()
    channel = worker.connect()
    listen_for(channel)
    ask(channel, (0, image(0)))
    time.sleep(PAUSE_S / 3)  # it runs the first alone by now
    ask(channel, *((number, image(number)) for number in range(1, 7)))
    batches = []
    while sum(map(len, batches)) < 7:
        batches += [[item[0] for item in message.header[1]] for message in listen_for(channel)]
    assert batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_it_drops_what_cannot_be_on_time_and_says_so(start: Callable[..., WorkerProcess]) -> None:
    worker = start(model=SLOW)
    worker.line()
    channel = worker.connect()
    listen_for(channel)
    soon = clock_ns() + int(PAUSE_S * 0.5e9)  # half of what it takes
    ask(channel, (1, image(1)), deadline_ns=soon)
    assert listen_for(channel)[0].header == ["late", 1]
    ask(channel, (2, image(2)))
    assert listen_for(channel)[0].header[0] == "done"


def test_a_request_that_makes_the_model_raise_harms_no_other(start: Callable[..., WorkerProcess]) -> None:
    worker = start(model=CHOOSY, end=2)
    worker.line()
    channel = worker.connect()
    listen_for(channel)
    ask(channel, (1, -np.abs(image(1))))
    kind, problem, *identities = listen_for(channel)[0].header
    assert (kind, identities) == ("failed", [1])
    assert "negative input" in problem
    ask(channel, (2, np.abs(image(2))))
    assert listen_for(channel)[0].header[0] == "done"


def test_several_gateways_share_a_worker_and_one_that_leaves_is_forgotten(
    start: Callable[..., WorkerProcess],
) -> None:
    worker = start(model=SLOW)
    worker.line()
    first, second = worker.connect(), worker.connect()
    listen_for(first)
    listen_for(second)
    ask(first, (1, image(1)))
    time.sleep(PAUSE_S / 3)
    ask(first, (2, image(2)))
    ask(second, (1, image(3)))
    assert [item[0] for item in listen_for(first)[0].header[1]] == [1]
    [theirs] = listen_for(second)
    assert [item[0] for item in theirs.header[1]] == [1]
    np.testing.assert_allclose(
        np.frombuffer(theirs.payload, dtype=np.float32).reshape(1, 10),
        answer_of(SLOW, 0, image(3)),
        rtol=1e-4,
        atol=1e-5,
    )
    ask(first, (4, image(4)))
    first.close()
    ask(second, (5, image(5)))
    assert [item[0] for item in listen_for(second)[0].header[1]] == [5]


def greet(channel: Channel, arena: Arena, path: Path) -> Channel:
    """Hang up, and come back with shared memory."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    hello = ["hello", {"gateway": "test", "machine": machine(), "arena": arena.size}]
    socket.send_fds(connection, [b"".join(map(bytes, encode(hello)))], [arena.descriptor])
    channel.close()
    return Channel(connection, send_timeout_s=30)


@pytest.mark.parametrize("model", [TINY, IN_PLACE])
def test_tensors_are_read_and_written_in_shared_memory(
    start: Callable[..., WorkerProcess], model: str
) -> None:
    worker = start(model=model, start=0, end=1)
    worker.line()
    arena = Arena(1 << 20)
    channel = greet(worker.connect(), arena, worker.path)
    worker.channels.append(channel)
    [hello] = listen_for(channel)
    shape = tuple(hello.header[1]["input"][1])
    sent = [image(number, 3, shape) for number in range(2)]
    items, outputs = [], []
    for number, tensor in enumerate(sent):
        given, output = arena.allocate(tensor.nbytes), arena.allocate(3 * hello.header[1]["output_bytes"])
        assert given is not None
        assert output is not None
        given.data[:] = memoryview(tensor).cast("B")
        deadline_ns = clock_ns() + HOUR_NS
        items.append([number, 3, deadline_ns, tensor.nbytes, given.offset, output.offset])
        outputs.append((given, output))
    # The first alone, the second likewise: together they are more than a batch.
    channel.send(["run", items])
    answers = [message for message in listen_for(channel, 2) if message.header[0] == "done"]
    for message, tensor, (given, output) in zip(answers, sent, outputs, strict=True):
        [[_, samples, length, place, copied]] = message.header[1]
        assert (samples, length, place, len(message.payload)) == (3, len(output.data), 1, 0)
        # Once, into its place; and once more where the model would have written to what it was given.
        assert copied == length + (tensor.nbytes if model == IN_PLACE else 0)
        np.testing.assert_array_equal(np.frombuffer(given.data, np.float32), tensor.ravel())
        answer = np.frombuffer(output.data, np.float32).reshape(3, *hello.header[1]["output"][1])
        np.testing.assert_allclose(answer, part_of(model, 0, 1, tensor), rtol=1e-4, atol=1e-5)
    arena.close()


def test_told_to_stop_it_finishes_what_it_has_and_waits_for_its_gateways(
    start: Callable[..., WorkerProcess],
) -> None:
    worker = start(model=SLOW, batch=1)
    worker.line()
    channel = worker.connect()
    listen_for(channel)
    ask(channel, (1, image(1)), (2, image(2)))
    worker.process.send_signal(signal.SIGTERM)
    headers = [message.header for message in listen_for(channel, 3)]
    assert sorted(header[0] for header in headers) == ["done", "done", "drain"]
    ask(channel, (3, image(3)))
    assert listen_for(channel)[0].header[0] == "done"
    assert worker.process.poll() is None
    channel.close()
    assert worker.process.wait(10) == 0
    assert not worker.path.exists()


def test_it_reports_its_work_to_its_parent(start: Callable[..., WorkerProcess]) -> None:
    worker = start()
    worker.line()
    channel = worker.connect()
    listen_for(channel)
    ask(channel, (1, image(1, 3)))
    listen_for(channel)
    report = worker.line()
    while not report.get("batches"):
        report = worker.line()
    assert report["event"] == "report"
    assert (report["batches"], report["samples"], report["late"], report["failed"]) == (1, 3, 0, 0)
    assert report["busy_s"] > 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"end": 4}, "no layers [0, 4); it has 3"),
        ({"model": "resnet_nine"}, "resnet_nine"),
        ({"model": "tests.runtime.tiny_models:enormous"}, "enormous"),
    ],
)
def test_what_it_cannot_be_it_says_before_it_ends(
    start: Callable[..., WorkerProcess], options: dict[str, Any], complaint: str
) -> None:
    worker = start(**options)
    said = worker.line()
    assert said["event"] == "fatal"
    assert complaint in said["error"]
    assert worker.process.wait(10) == 1


def test_it_does_not_outlive_its_parent(tmp_path: Path) -> None:
    code = (
        "import json, os, subprocess, sys, time\n"
        "spec = json.loads(sys.argv[1]); spec['parent'] = os.getpid()\n"
        "worker = subprocess.Popen([sys.executable, '-m', 'runtime.worker', json.dumps(spec)])\n"
        "time.sleep(600)\n"
    )
    spec = WorkerSpec(
        key="w",
        model=TINY,
        start=0,
        end=3,
        batch=1,
        share=100,
        endpoints=(f"unix:{tmp_path / 'w.sock'}",),
        parent=0,
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(asdict(spec))],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    said = json.loads(parent.stdout.readline())
    assert said["event"] == "born"
    pid = said["pid"]
    assert alive(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(pid), what="end of the worker", timeout_s=10)
    parent.stdout.close()
