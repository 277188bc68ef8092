"""A gateway's counts are watched until another plan is called for."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner import formats
from planner.forecasting import Window
from planner.workload import Fragment, Workload
from runtime.commands_exits import exits
from runtime.exit_watch import Counts, seen_between, watch
from tests.exits import with_exits
from tests.profiles import make_profile

PROFILE = with_exits(make_profile(layers=8, batches=(1,), shares=(100,)), (0.5, 0.25), layers=(2, 5))
WORKLOAD = Workload(
    fragments=(
        Fragment(id="early", model="net", start=0, budget_ms=90.0, rate_rps=9.0),
        Fragment(id="late", model="net", start=3, budget_ms=90.0, rate_rps=9.0),
    )
)


def counts(first: float) -> Iterator[Counts]:
    """1,000 answers of `early` a window: this part leaves by the first exit, a quarter by the second."""
    for window in range(6):
        left = {
            ("early", 2): round(1000 * first) * window,
            ("early", 5): 250 * window,
            ("late", 5): 9 * window,
        }
        yield Counts(Counter({"early": 1000 * window, "late": 700 * window}), Counter(left), Counter())


def test_nothing_is_said_while_inputs_are_what_was_planned_with() -> None:
    seen: list[Window] = []
    found = watch(counts(0.5), WORKLOAD, PROFILE, method="last", tell=lambda window, _: seen.append(window))
    assert found is None
    assert seen == [Window(answered=1000, left={2: 500, 5: 250})] * 5


def test_a_drift_ends_the_watch_with_what_to_plan_for() -> None:
    found = watch(counts(0.3), WORKLOAD, PROFILE, method="mean", tell=lambda *_: None)
    assert found == pytest.approx((0.7, 0.45))


def test_a_gateway_that_was_started_anew_counts_from_nothing() -> None:
    before = Counts(Counter({"early": 900}), Counter({("early", 2): 800}), Counter())
    now = Counts(Counter({"early": 100}), Counter({("early", 2): 50}), Counter())
    seen = seen_between(before, now, WORKLOAD.fragments[0], frozenset({2}))
    assert (seen.answered, seen.left) == (0, {2: 0})


def test_an_exit_that_is_not_in_use_is_no_drift() -> None:
    """Only the second exit is in use: whoever would have left by the first leaves there."""

    def readings() -> Iterator[Counts]:
        for window in range(6):
            left = Counter({("early", 5): 750 * window})
            yield Counts(Counter({"early": 1000 * window}), left, Counter(), in_use={"net": frozenset({5})})

    assert watch(readings(), WORKLOAD, PROFILE, method="last", tell=lambda *_: None) is None


class Metrics(BaseHTTPRequestHandler):
    """A gateway whose requests all go on past the first exit."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        text = (
            "# TYPE regraft_gateway_answered counter\n"
            f'regraft_gateway_answered_total{{fragment="early"}} {500 * self.asked}\n'
            "# TYPE regraft_gateway_left counter\n"
            f'regraft_gateway_left_total{{fragment="early",exit="5"}} {100 * self.asked}\n'
            "# TYPE regraft_stage_workers gauge\n"
            'regraft_stage_workers{model="net",exits="2,5"} 1\n'
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_the_command_writes_the_workload_to_plan_for(tmp_path: Path) -> None:
    formats.write(WORKLOAD, tmp_path / "workload.json")
    formats.write(PROFILE, tmp_path / "profile.json")
    server = HTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        options = [f"--{name}={tmp_path / name}.json" for name in ("workload", "profile", "output")]
        url = f"http://127.0.0.1:{server.server_port}"
        done = CliRunner().invoke(exits, ["watch", url, *options, "--every=0.1"])
        assert done.exit_code == 0, done.output
        written = json.loads((tmp_path / "output.json").read_text())
        assert [fragment["survival"] for fragment in written["fragments"]] == [[1.0, 0.8]] * 2
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert CliRunner().invoke(exits, ["watch", url, *options]).exit_code == 2
