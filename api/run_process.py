"""The parent's side of a solve: start the child, hear it, ask it to stop, kill it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

# A plan comes as one line.
_LINE_LIMIT = 1 << 30
_TAIL_BYTES = 4000
_MARGIN_MB = 256
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# What Python, C++ and the C library say when they are refused memory.
_NO_MEMORY = (b"MemoryError", b"bad_alloc", b"Cannot allocate memory", b"out of memory")


class SolveProcess:
    """A child that solves one job. Whoever starts it must `kill` it in the end, however it went."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._tail = b""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, job: bytes, *, memory_mb: int = 0) -> SolveProcess:
        """Start a child on a job, which is one JSON object without line breaks.

        The kernel refuses the child memory somewhat above `memory_mb`, where that is not 0. Libraries that
        are refused memory may hang or die, so whoever starts it looks at `resident_mb`, and kills it before.
        """
        refused_mb = memory_mb + max(_MARGIN_MB, memory_mb // 4) if memory_mb else 0
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "api.run_child",
            str(refused_mb),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            # A group of its own: what the solve starts is killed with it; Ctrl-C is the parent's to handle.
            start_new_session=True,
        )
        solve = cls(process)
        assert process.stdin is not None
        # A child that died already shows in its messages, not here.
        with contextlib.suppress(ConnectionError):
            process.stdin.write(job + b"\n")
            await process.stdin.drain()
        return solve

    @property
    def pid(self) -> int:
        return self._process.pid

    def resident_mb(self) -> float:
        """The memory that the child has now; 0 where it has ended, or where the system does not say."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * _PAGE_BYTES / 1e6
        except (OSError, IndexError):
            return 0.0

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the child says, to its end. Lines that are not whole, or not ours, are passed over."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message

    def stop(self, grace_s: float) -> None:
        """Ask for the best plan so far within this time."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(f"stop {grace_s}\n".encode())

    async def kill(self) -> None:
        """End the child and whatever it started, at once; does nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def fate(self) -> str:
        """Why a child that said nothing ended, for people."""
        code = await self._process.wait()
        await self._listening
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        tail = self._tail.decode(errors="replace").strip().splitlines()
        return f"the solve's process {how}" + (f"; its last words: {tail[-1][:500]}" if tail else "")

    def was_refused_memory(self) -> bool:
        """Whether a child that ended says that it got no more memory. Call it after `fate`."""
        return any(words in self._tail for words in _NO_MEMORY)

    async def _listen(self) -> None:
        """Keep the end of the child's standard error, and its pipe empty."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(65536):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
