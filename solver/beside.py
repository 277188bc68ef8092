"""A process beside a search, on a second core. What it does there is up to the task that it is given.

What is sent are pickles over the process's own pipes: the task first, then whatever the search wants to tell,
and back whatever is found. A process whose search has gone reads the end of its input, and ends. When
messages arrive depends on the machine, so a search with another process beside it does not repeat itself; one
thread is for that.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

Send = Callable[[Any], None]


class Work(Protocol):
    """What the process does. `hear` is called from another thread than `run`, which goes on until it is done
    or the process is killed."""

    def hear(self, message: Any) -> None: ...

    def run(self) -> None: ...


class Task(Protocol):
    """What the process is told first; to be pickled."""

    def begin(self, send: Send) -> Work: ...


class Beside:
    """The process, as the search sees it; first it is told its task. To be closed, which ends it."""

    def __init__(self, module: str, heard: Send) -> None:
        """`heard` is called with every message, from a thread of its own. The process imports `module`, where
        tasks are from, at once: that is most of what it has to do before it can begin."""
        self._heard = heard
        self._process = subprocess.Popen(
            [sys.executable, "-m", "solver.beside_work", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )
        # The process first has to start, and a pipe holds little: nobody waits for it to read.
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for work in (self._listen, self._send):
            threading.Thread(target=work, name="beside", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: Any) -> None:
        """Send a message, which must not change any more. Where the process has ended it is lost."""
        self._outbox.put(message)

    def close(self) -> None:
        self._outbox.put(None)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _send(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            while (message := self._outbox.get()) is not None:
                pickle.dump(message, pipe)
                pipe.flush()
            return
        # It has ended: what it is told from now on is lost, and not kept either.
        while self._outbox.get() is not None:
            pass

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for message in messages(self._process.stdout):
            self._heard(message)


def worthwhile(threads: int) -> bool:
    """Whether there is a core for another process."""
    # Not every system says which cores are this process's own.
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads >= 2 and ours >= 2


def messages(pipe: IO[bytes]) -> Iterator[Any]:
    """What the other end sends, until it has gone."""
    while True:
        try:
            yield pickle.load(pipe)  # noqa: S301 - the other end is this program
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return
