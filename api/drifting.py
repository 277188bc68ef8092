"""Planning anew where inputs have become easier or harder than the running plan was made for.

Agents report what gateways counted at exits. Every `drift_window_s` one process of the service, whichever
comes first, closes a window: what was counted since the last. The windows together make a forecast of
survival (`planner.drifting`); where it has drifted from what the running plan assumes, a plan run is
submitted for the same workload with the survival expected, by the strategy and the settings of the run that
made the plan. What becomes of its plan is decided by `on_drift`, of the deployment or of the settings:

    ignore    nothing is planned
    propose   the plan is there to be compared and deployed
    apply     it becomes the next generation, if nobody has deployed anything meanwhile and it fits the
              live nodes; where inputs have only become easier, it has to be cheaper

A drift that was planned for is not planned for again, unless the forecast drifts from it in turn.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from api import deploying, packing
from api.context import Service
from api.errors import ConflictError, DoesNotFitError, ServiceError
from api.exit_counting import Reading, counted_between, counts_from_json, counts_to_json, reading_of
from api.logs import logger
from api.repositories.drifts import Mode
from api.repositories.runs import FINAL
from api.repositories.store import Store
from api.tables import DriftRow, RunRow
from planner import formats
from planner.drifting import Counts, Outlook, exits_in_use, forecast_workload, outlooks
from planner.forecasting import drifted
from planner.plan import Plan
from planner.planning import STRATEGIES
from planner.profile import Profile
from planner.workload import Workload

_log = logger("regraft.drift")

BY = "drift"  # who deployed and submitted, where nobody did
_TICK_S, _IDLE_S = 1.0, 10.0


class DriftWatch:
    """Closes windows, plans anew, and applies what was planned. Every process of the service has one."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._database = service.database
        self._settings = service.settings
        self._inputs: tuple[int, _Inputs] | None = None
        self._next_look_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = min(_TICK_S, self._settings.drift_window_s / 4)
        while True:
            try:
                await asyncio.to_thread(self.round)
            except ServiceError as error:
                _log.warning("looking at exits was put off", detail=error.detail)
            except Exception:
                _log.error("what exits saw cannot be judged", exc_info=True)
            await asyncio.sleep(pause_s)

    def round(self) -> None:
        """What is due now."""
        self._follow_up()
        if (number := self._close_window()) is not None:
            self._judge(number)

    # windows

    def _close_window(self) -> int | None:
        """Write the next window if it is time; gives its number if it was written here."""
        with self._database.reading() as store:
            last = store.drifts.last_window()
            due_ms = 0 if last is None else last.ended_ms + int(1000 * self._settings.drift_window_s)
            if store.nodes.now_ms() < due_ms or time.monotonic() < self._next_look_s:
                return None
            reported, generation = store.nodes.exits(), store.deployments.generation()
            if not reported or not generation:
                # Where nobody uses exits, thousands of statuses are not looked through every second.
                self._next_look_s = time.monotonic() + min(_IDLE_S, self._settings.drift_window_s)
                return None
            last = store.drifts.last_window(body=True)
        before: Reading = {}
        if last is not None and last.generation == generation:
            before = json.loads(packing.unpack_bytes(last.body))["reading"]
        reading = reading_of(reported, generation, before)
        in_use = exits_in_use(self._running(generation).plan)
        counts = counts_to_json(counted_between(before, reading, in_use))
        number = 1 if last is None else last.number + 1
        body = packing.pack_json({"counts": counts, "reading": reading})
        with self._database.writing() as store:
            written = store.drifts.add_window(
                number=number, generation=generation, body=body, keep=self._settings.drift_windows
            )
        return number if written else None

    def _judge(self, number: int) -> None:
        """Forecast from the windows up to this one, and plan anew where that has drifted."""
        with self._database.reading() as store:
            generation = store.deployments.generation()
            windows = store.drifts.windows(limit=self._settings.drift_windows)
            earlier = store.drifts.last_of(generation)
        inputs = self._running(generation)
        found = outlooks(
            inputs.plan, inputs.workload, inputs.profiles, _counts(windows),
            tolerance=self._settings.drift_tolerance,
        )  # fmt: skip
        with self._database.writing() as store:
            store.drifts.tell(number, [_told(outlook) for outlook in found])
        mode = inputs.mode or self._settings.on_drift
        if mode != "ignore" and self._is_news(found, earlier):
            self._plan_anew(generation, inputs, found, mode)

    def _is_news(self, found: Sequence[Outlook], earlier: DriftRow | None) -> bool:
        """Whether some kind has drifted from the plan, and from what was planned for since."""
        known: dict[Any, Sequence[float]] = {}
        if earlier is not None:
            if earlier.state == "planning":
                return False
            known = {_name(item): item["expected"] for item in earlier.outlook if item["drifted"]}
        for outlook in found:
            if not outlook.drifted or outlook.expected is None:
                continue
            planned_for = known.get(_name(_told(outlook)))
            if planned_for is None or drifted(
                planned_for, outlook.expected, outlook.rests_on, tolerance=self._settings.drift_tolerance
            ):
                return True
        return False

    def _plan_anew(self, generation: int, inputs: _Inputs, found: list[Outlook], mode: Mode) -> None:
        workload = forecast_workload(inputs.workload, found)
        name, body = formats.digest(workload), packing.pack(workload)
        told = [_told(outlook) for outlook in found]
        with self._database.writing() as store:
            # Another window may have been judged elsewhere meanwhile.
            last = store.drifts.last_of(generation)
            if store.deployments.generation() != generation or (last and last.state == "planning"):
                return
            store.documents.add_workload(
                name, workload, body, derived_from=inputs.workload_id, derivation={"survival": told}
            )
            run = store.runs.submit(
                workload_id=name,
                profiles=inputs.profile_ids,
                strategy=inputs.strategy,
                settings=inputs.settings,
                submitted_by=None,
            )
            row = store.drifts.add(
                generation=generation,
                plan_id=inputs.plan_id,
                workload_id=name,
                run_id=run.id,
                mode=mode,
                outlook=told,
            )
            store.audit.add(
                action="drift", target=row.id, key_id=None, key_name=BY,
                detail={"generation": generation, "run": run.id, "mode": mode},
            )  # fmt: skip
            drift_id = row.id
        _log.info("inputs have drifted", drift=drift_id, generation=generation, run=run.id, mode=mode)
        self._service.queued.ring_from_thread()

    # what was planned

    def _follow_up(self) -> None:
        """Go on with the drifts whose runs have ended, and with proposals that somebody has decided on."""
        with self._database.reading() as store:
            rows = store.drifts.open()
            if not rows:
                return
            current = store.deployments.generation()
            plan_id = store.deployments.deployment(current).plan_id if current else None
            runs = {row.run_id: store.runs.run(row.run_id) for row in rows}
        for row in rows:
            run = runs[row.run_id]
            if row.state == "planning" and run.state in FINAL:
                self._conclude(row, run)
            elif row.state == "proposed" and current != row.generation:
                # Somebody has deployed: this plan, or another.
                mine = run.plan_id == plan_id
                with self._database.writing() as store:
                    store.drifts.change(
                        row.id, before="proposed", state="applied" if mine else "superseded",
                        applied_as=current if mine else None,
                    )  # fmt: skip

    def _conclude(self, row: DriftRow, run: RunRow) -> None:
        """The run has ended."""
        if run.plan_id is None:
            why = run.failure["detail"] if run.failure else f"the run was {run.state}"
            return self._end(row, "failed", why)
        if row.mode != "apply":
            return self._end(row, "proposed")
        with self._database.reading() as store:
            before, after = store.plans.plan(row.plan_id).share, store.plans.plan(run.plan_id).share
        if after >= before and not any(item["harder"] for item in row.outlook if item["drifted"]):
            return self._end(row, "kept", "inputs have become easier, but no cheaper plan was found")
        try:
            self._apply(row, run.plan_id)
        except DoesNotFitError as error:
            self._end(row, "failed", error.detail)
        except ConflictError as error:  # somebody has deployed meanwhile
            self._end(row, "superseded", error.detail)

    def _apply(self, row: DriftRow, plan_id: str) -> None:
        prepared = deploying.prepare(self._database, plan_id, max_clients=self._settings.max_clients)
        if prepared.after != row.generation:
            return self._end(row, "superseded", f"generation {prepared.after} was deployed meanwhile")
        with self._database.writing() as store:
            generation = row.generation + 1
            if not store.drifts.change(row.id, before="planning", state="applied", applied_as=generation):
                return
            self._append(store, row, prepared)
        _log.info("the plan for what is expected runs", drift=row.id, generation=generation)
        self._service.watch.look_from_thread()

    def _append(self, store: Store, row: DriftRow, prepared: deploying.Prepared) -> None:
        before = store.deployments.deployment(row.generation)
        made = store.deployments.append(
            after=prepared.after,
            plan_id=prepared.plan_id,
            rollback_of=None,
            deployed_by=BY,
            instances=prepared.instances,
            gpus=prepared.gpus,
            body=prepared.body,
            on_drift=before.on_drift,
        )
        store.audit.add(
            action="deploy", target=str(made.generation), key_id=None, key_name=BY,
            detail={"plan": prepared.plan_id, "drift": row.id},
        )  # fmt: skip

    def _end(self, row: DriftRow, state: Any, detail: str | None = None) -> None:
        with self._database.writing() as store:
            store.drifts.change(row.id, before="planning", state=state, detail=detail)
        _log.info("a drift was planned for", drift=row.id, state=state, detail=detail)

    def _running(self, generation: int) -> _Inputs:
        """What the generation's plan was made from; kept while it runs."""
        if self._inputs is None or self._inputs[0] != generation:
            with self._database.reading() as store:
                self._inputs = (generation, _Inputs(store, generation))
        return self._inputs[1]


class _Inputs:
    """A generation's plan, and what it was made from."""

    def __init__(self, store: Store, generation: int) -> None:
        deployment = store.deployments.deployment(generation)
        row = store.plans.plan(deployment.plan_id, body=True)
        run = store.runs.run(row.run_id) if row.run_id is not None else None
        self.mode = cast("Mode | None", deployment.on_drift)
        self.plan_id = row.id
        self.workload_id = row.workload_id
        self.profile_ids = row.profiles
        self.plan = packing.unpack(Plan, row.body)
        self.workload = packing.unpack(Workload, store.documents.workload(row.workload_id, body=True).body)
        self.profiles = [
            packing.unpack(Profile, store.documents.profile(name, body=True).body) for name in row.profiles
        ]
        if run is not None:
            self.strategy, self.settings = run.strategy, dict(run.settings)
        else:
            self.strategy, self.settings = _as_it_says(self.plan)


def _as_it_says(plan: Plan) -> tuple[str, dict[str, Any]]:
    """How to plan like a plan made elsewhere: as its provenance says, as far as it does."""
    from api.views import RunSettings

    said = plan.provenance.settings
    fields = {name: said[name] for name in RunSettings.model_fields if name in said}
    try:
        settings = RunSettings.model_validate(fields)
    except ValueError:
        settings = RunSettings()
    return plan.strategy if plan.strategy in STRATEGIES else "graft", settings.model_dump()


def _counts(windows: Sequence[Any]) -> list[Counts]:
    return [counts_from_json(json.loads(packing.unpack_bytes(row.body))["counts"]) for row in windows]


def _told(outlook: Outlook) -> dict[str, Any]:
    """An outlook as it is stored and shown."""
    return {**asdict(outlook), "difference": outlook.difference, "harder": outlook.harder}


def _name(told: dict[str, Any]) -> tuple[str, tuple[float, ...] | None]:
    return told["model"], tuple(told["planned"]) if told["own"] else None
