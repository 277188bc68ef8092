"""A stopwatch (`runtime.stopwatch`) as whoever started it sees it: what it says, and the word to go on."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from runtime.errors import MeasurementError, ModelError
from runtime.mps import environment as mps_environment
from runtime.stopwatch import Assignment


class StopwatchProcess:
    """One measuring process, killed by `close`."""

    def __init__(self, assignment: Assignment, *, mps: bool, halt: threading.Event) -> None:
        environment = dict(os.environ)
        if mps:
            environment.update(mps_environment(assignment.shares[0]))
        self._assignment = assignment
        self._halt = halt
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runtime.stopwatch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=environment,
        )
        self._events = self._read()
        self._write(json.dumps(asdict(assignment)))

    def events(self) -> Iterator[dict[str, Any]]:
        """What it says, until it has ended well. Raises ModelError, MeasurementError."""
        return self._events

    def until(self, wanted: str) -> None:
        """Pass over what it says until it says that. Raises as `events`."""
        for event in self._events:
            if event["event"] == wanted:
                return

    def go(self) -> None:
        """Tell it to go on."""
        self._write("go")

    def rest(self) -> None:
        """Let one that loops come to rest and end. Raises MeasurementError when it will not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        for _ in self._events:
            pass

    @property
    def pid(self) -> int:
        """Of the measuring process."""
        return self._process.pid

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        # Where it has died, reading says why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> Iterator[dict[str, Any]]:
        done = False
        for line in self._lines():
            event = json.loads(line)
            if event["event"] == "error":
                kind = ModelError if event["model_error"] else MeasurementError
                raise kind(event["message"])
            done = event["event"] == "end"
            yield event
        status = self._process.wait()
        if status != 0 or not done:
            self._complaints.seek(0)
            said = self._complaints.read().decode(errors="replace").strip().splitlines()
            raise MeasurementError(
                f"{self._assignment.model}: the measuring process ended with status {status}: "
                f"{said[-1] if said else 'it said nothing'}"
            )

    def _lines(self) -> Iterator[bytes]:
        """The lines it has written. Raises MeasurementError when halted."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        rest = b""
        while True:
            readable, _, _ = select.select([descriptor], [], [], 0.2)
            if self._halt.is_set():
                raise MeasurementError("measuring was stopped; what was measured is kept")
            if readable:
                chunk = os.read(descriptor, 1 << 16)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
