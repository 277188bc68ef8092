"""Child processes of the demo: started with a log of their own, watched, and always stopped again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class ProcessError(Exception):
    """A child process ended, or did not come up in time; the message carries the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A running `regraft` command and the file its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise ProcessError if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessError(
                f"{self.name} ended with exit code {code}; the end of {self.log}:\n{self.tail()}"
            )

    def finished(self) -> bool:
        """Whether it has ended well; raises ProcessError if it ended otherwise."""
        code = self.process.poll()
        if code:
            self.check()
        return code == 0

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, grace_s: float = 10.0) -> None:
        """SIGTERM to it; SIGKILL to what is left of its group when it has ended, or after the grace time."""
        if self.process.poll() is None:
            self.process.terminate()
            deadline = time.monotonic() + grace_s
            # Not reaped yet, it keeps its number from being anybody else's when the group is killed.
            waiting = os.WEXITED | os.WNOHANG | os.WNOWAIT
            while not os.waitid(os.P_PID, self.process.pid, waiting) and time.monotonic() < deadline:
                time.sleep(0.02)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Family:
    """The children of one run, stopped in the reverse order of their start."""

    folder: Path
    environment: Mapping[str, str]
    children: list[Child] = field(default_factory=list)

    def start(self, name: str, arguments: Sequence[str], **environment: str) -> Child:
        """Start `regraft ARGUMENTS…` with its output in `<folder>/<name>.log`."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                regraft(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **environment},
                start_new_session=True,
            )
        child = Child(name=name, process=process, log=log)
        self.children.append(child)
        return child

    def check(self) -> None:
        """Raise ProcessError if one of them has ended that was not to end."""
        for child in self.children:
            if child.process.poll() != 0:
                child.check()

    def wait_for_port(self, child: Child, port_file: Path, timeout_s: float = 60.0) -> int:
        """The port a child wrote to its port file once it listens."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            child.check()
            text = port_file.read_text().strip() if port_file.exists() else ""
            if text:
                return int(text)
            time.sleep(0.05)
        raise ProcessError(
            f"{child.name} did not listen within {timeout_s:g} s; the end of its log:\n{child.tail()}"
        )


@contextmanager
def family(folder: Path, environment: Mapping[str, str]) -> Iterator[Family]:
    """A family whose children are stopped when the block ends, however it ends."""
    members = Family(folder=folder, environment=environment)
    try:
        yield members
    finally:
        for child in reversed(members.children):
            child.stop()


def output_of(*arguments: str) -> str:
    """Run `regraft ARGUMENTS…` to its end; gives its standard output. Raises ProcessError if it fails."""
    done = subprocess.run(regraft(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessError(f"regraft {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def regraft(*arguments: str) -> list[str]:
    """The command line that runs `regraft ARGUMENTS…` with this interpreter."""
    return [sys.executable, "-c", "from api.command_line import main; main()", *arguments]
