"""`regraft report`: one file that says it all, opened offline."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from api.command_line import regraft
from api.pictures.account import Account
from api.pictures.closing import Reading, closing_picture
from api.pictures.flow import flow_picture, hidden_note
from api.pictures.gpus import gpu_picture
from api.pictures.layout import lay_out
from planner import formats
from planner.comparing import compare
from planner.plan import Plan
from planner.planning import make_plan
from planner.problem import PlanSettings
from planner.profile import Profile
from planner.workload import Fragment, Gpu, Workload
from tests.profiles import make_profile, make_workload

if TYPE_CHECKING:
    from playwright.sync_api import Page

from tests.api.pages.conftest import browser, open_page, shoot  # noqa: F401

NAMESPACE = "{http://www.w3.org/2000/svg}"
QUICK = PlanSettings(time_limit_s=0.3)


def case(fragments: int = 18, seed: int = 0, gpus: bool = True) -> tuple[Workload, list[Profile], Plan]:
    profiles = [
        make_profile(model, layers=layers, memory=True, seed=seed)
        for model, layers in (("resnet101", 37), ("vit_b_16", 16))
    ]
    there = [Gpu(id=f"gpu-{n}", type="v100", memory_mb=16384.0) for n in range(30)] if gpus else None
    workload = make_workload(profiles, fragments=fragments, counts=(1, 4), gpus=there, seed=seed)
    return workload, profiles, make_plan(workload, profiles, strategy="graft", settings=QUICK)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan, a comparison, and what they were made from."""
    folder = tmp_path_factory.mktemp("report")
    workload, profiles, plan = case()
    hasty = Fragment(id="hasty", model="vit_b_16", start=0, budget_ms=0.2, rate_rps=1.0)
    workload = Workload(fragments=(*workload.fragments, hasty), gpus=workload.gpus)
    partial = PlanSettings(time_limit_s=0.3, infeasible="partial")
    plan = make_plan(workload, profiles, strategy="graft", settings=partial)
    formats.write(workload, folder / "workload.json")
    formats.write(plan, folder / "plan.json")
    for profile in profiles:
        formats.write(profile, folder / f"{profile.model}.json")
    result = compare(workload, profiles, strategies=["gslice", "graft", "nexus"], settings=partial)
    (folder / "result.json").write_text(json.dumps(result.to_json()))
    return folder


def report(folder: Path, made: str, *more: str) -> Result:
    """The command, in this process; file names are of the folder."""
    arguments = [str(folder / name) if name.endswith(".json") else name for name in (made, *more)]
    command = ["report", *arguments, "--output", str(folder / "report.html")]
    return CliRunner().invoke(regraft, command)


ALL = ("--workload", "workload.json", "--profile", "resnet101.json", "--profile", "vit_b_16.json")


@pytest.mark.parametrize(("made", "more"), [("plan.json", ALL), ("plan.json", ()), ("result.json", ALL)])
def test_it_is_one_file_that_loads_nothing(files: Path, made: str, more: tuple[str, ...]) -> None:
    done = report(files, made, *more)
    assert done.exit_code == 0, done.stderr
    text = (files / "report.html").read_text()
    assert "default-src 'none'" in text
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"|url\(|@import|<script', text) == []
    assert text.count("<svg") > 2


def test_it_says_what_the_plan_says(files: Path) -> None:
    assert report(files, "plan.json", *ALL).exit_code == 0
    text = (files / "report.html").read_text()
    plan = formats.read(Plan, files / "plan.json")
    for stage in plan.stages:
        assert f'<th scope="row">{stage.id}</th>' in text
    for route in plan.routes:
        assert f'<th scope="row">{route.fragment}' in text
    # What was left out: why, and what would help.
    assert "hasty" in text
    assert "the fastest way through the remaining layers takes" in text
    assert "a budget of" in text


def test_a_comparison_has_every_strategy_and_the_bound(files: Path) -> None:
    assert report(files, "result.json", *ALL, "--title", "A & B <i>").exit_code == 0
    text = (files / "report.html").read_text()
    assert "<title>A &amp; B &lt;i&gt;</title>" in text
    for name in ("gslice", "graft", "nexus"):
        assert f'<section class="plan" id="{name}">' in text
    assert "no plan has less than" in text


def test_pictures_as_files_are_svg(files: Path, tmp_path: Path) -> None:
    assert report(files, "result.json", *ALL, "--svg", str(tmp_path / "svg")).exit_code == 0
    written = sorted(path.name for path in (tmp_path / "svg").iterdir())
    assert "sides.svg" in written
    assert "graft-flow-resnet101.svg" in written
    for path in (tmp_path / "svg").iterdir():
        assert ET.parse(path).getroot().tag == f"{NAMESPACE}svg"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("{", "Invalid JSON"),
        ("[]", "expected an object"),
        ('{"format": "regraft.comparison/v1"}', "rows, plans: are not there"),
        ('{"format": "regraft.comparison/v1", "rows": [{"x": 1}], "plans": {}}', "rows[0]"),
        ('{"format": "regraft.comparison/v1", "rows": [], "plans": {"a": {}}}', "plans.a"),
    ],
)
def test_a_file_that_is_neither_is_refused(files: Path, content: str, told: str) -> None:
    (files / "wrong.json").write_text(content)
    (files / "report.html").unlink(missing_ok=True)
    done = report(files, "wrong.json")
    assert done.exit_code == 2
    assert "wrong.json" in done.stderr
    assert told in done.stderr
    assert not (files / "report.html").exists()


def test_it_opens_offline_in_a_browser(files: Path, open_page: Callable[..., Page]) -> None:  # noqa: F811
    assert report(files, "result.json", *ALL).exit_code == 0
    for width, dark in ((1440, False), (390, True)):
        page = open_page(width=width, dark=dark)
        page.context.set_offline(True)
        page.goto((files / "report.html").as_uri())
        assert page.get_by_role("img", name=re.compile("resnet101: how fragments flow")).count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        fill = page.locator("rect.stage").first.evaluate("item => getComputedStyle(item).fill")
        assert fill not in ("", "rgb(0, 0, 0)")
        shoot(page, f"report-{width}")


def numbers(svg: str, tag: str, class_: str) -> list[tuple[float, float, float, float]]:
    root = ET.fromstring(svg)
    return [
        tuple(float(item.get(name, "0")) for name in ("x", "y", "width", "height"))  # type: ignore[misc]
        for item in root.iter(f"{NAMESPACE}{tag}")
        if class_ in item.get("class", "").split()
    ]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(0, 1000), st.sampled_from(["graft", "gslice", "gslice+"]))
def test_bars_lie_within_the_picture_and_never_on_each_other(
    fragments: int, seed: int, strategy: str
) -> None:
    workload, profiles, _ = case(1, seed % 5)
    workload = make_workload(profiles, fragments=fragments, seed=seed)
    plan = make_plan(workload, profiles, strategy=strategy, settings=QUICK)
    account = Account(plan, workload, profiles)
    for model in account.models:
        if not account.has_stages(model):
            continue
        svg = flow_picture(account, model)
        root = ET.fromstring(svg)
        width, height = float(root.get("width", "0")), float(root.get("height", "0"))
        bars = numbers(svg, "rect", "stage")
        assert len(bars) == sum(stage.model == model for stage in plan.stages)
        for n, (x, y, w, h) in enumerate(bars):
            assert x >= 0
            assert x + w <= width
            assert y >= 0
            assert y + h <= height
            for x2, y2, w2, h2 in bars[n + 1 :]:
                apart = x + w <= x2 + 0.01 or x2 + w2 <= x + 0.01 or y + h <= y2 + 0.01 or y2 + h2 <= y + 0.01
                assert apart, (model, bars)


def test_what_enters_is_what_leaves() -> None:
    workload, profiles, plan = case(40)
    account = Account(plan, workload, profiles)
    for model in account.models:
        bars = lay_out(account, model, most_bars=1000).bars.values()
        asked = sum(item.load_rps for item in workload.fragments if item.model == model)
        assert sum(bar.entering_rps for bar in bars) == pytest.approx(asked)
        assert sum(bar.rate_rps for bar in bars if not bar.onward) == pytest.approx(asked)


def test_too_many_stages_are_put_together_and_the_picture_says_so() -> None:
    workload, profiles, _ = case(60)
    plan = make_plan(workload, profiles, strategy="gslice", settings=QUICK)
    account = Account(plan, workload, profiles)
    svg = flow_picture(account, "resnet101", most_bars=10)
    assert len(numbers(svg, "rect", "stage")) <= 10
    note = hidden_note(account, "resnet101", most_bars=10)
    assert note is not None
    assert "30 stages" in note


def test_every_instance_has_its_part_of_a_gpu_as_wide_as_its_share() -> None:
    workload, profiles, plan = case()
    account = Account(plan, workload, profiles)
    svg = gpu_picture(account)
    parts = [item for item in numbers(svg, "rect", "part") if item[3] > 15]
    shares = sorted(account.stage[item.stage].share for item in plan.placement)
    assert len(parts) == len(shares)
    assert sorted(round((width + 1) / 7.2) for _, _, width, _ in parts) == [round(share) for share in shares]


def test_without_a_placement_the_share_asked_for_is_shown() -> None:
    workload, profiles, plan = case(gpus=False)
    svg = gpu_picture(Account(plan, workload, profiles))
    assert "no placement" in svg
    assert "whole GPUs" in svg
    assert "share " in gpu_picture(Account(plan))


def test_names_from_files_are_text() -> None:
    profile = make_profile('<b>"&', layers=4)
    workload = Workload(
        fragments=(Fragment(id="<i>", model='<b>"&', start=0, budget_ms=500.0, rate_rps=1.0),)
    )
    plan = make_plan(workload, [profile], strategy="graft", settings=QUICK)
    svg = flow_picture(Account(plan, workload, [profile]), '<b>"&')
    assert "<b>" not in svg
    ET.fromstring(svg)


def test_plan_and_bound_only_ever_close_in() -> None:
    readings = [
        Reading(t_s=1.0, objective=500.0, bound=None),
        Reading(t_s=2.0, objective=450.0, bound=100.0),
        Reading(t_s=3.0, objective=460.0, bound=90.0),  # another part of the search; the best still holds
        Reading(t_s=4.0, objective=400.0, bound=390.0),
    ]
    svg = closing_picture(readings)
    assert svg is not None
    root = ET.fromstring(svg)
    lines = {
        item.get("class", "").split()[1]: item.get("points", "") for item in root.iter(f"{NAMESPACE}polyline")
    }
    for name, falls in (("objective", True), ("bound", False)):
        heights = [float(point.split(",")[1]) for point in lines[name].split()]
        assert heights == sorted(heights, reverse=not falls)
    assert closing_picture([Reading(t_s=1.0, objective=None, bound=None)]) is None
