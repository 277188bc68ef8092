"""The contract of what is stored, over SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from sqlalchemy import update

from api import packing
from api.database import Database
from api.errors import ConflictError, GenerationError, InvalidInputError, NotFoundError
from api.repositories.nodes import Report
from api.repositories.runs import Event, LeaseLostError
from api.repositories.store import Store
from api.tables import IdempotencyRow, RunRow
from planner import formats
from planner.planning import make_plan
from tests.api.service import PROFILE, WORKLOAD

LEASE_MS = 60_000
SETTINGS = {"time_limit_s": 10.0}


@pytest.fixture
def workload(database: Database) -> str:
    """The id of a stored workload; the profile is stored with it."""
    name = formats.digest(WORKLOAD)
    with database.writing() as store:
        assert store.documents.add_workload(name, WORKLOAD, packing.pack(WORKLOAD))
        assert store.documents.add_profile(formats.digest(PROFILE), PROFILE, packing.pack(PROFILE))
    return name


def submit(database: Database, workload: str, count: int = 1) -> list[str]:
    """Queue runs; gives their ids in order."""
    ids = []
    for _ in range(count):
        with database.writing() as store:
            run = store.runs.submit(
                workload_id=workload,
                profiles=[formats.digest(PROFILE)],
                strategy="graft",
                settings=SETTINGS,
                submitted_by=None,
            )
            ids.append(run.id)
    return ids


def claim(database: Database, owner: str = "me", lease_ms: int = LEASE_MS) -> RunRow | None:
    """Take a run."""
    with database.writing() as store:
        return store.runs.claim(owner=owner, lease_ms=lease_ms)


def states(database: Database, run: str) -> list[str]:
    """The states a run has been in, by its events."""
    with database.reading() as store:
        events = store.runs.events(run, after=0, limit=100)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [event.data["state"] for event in events if event.kind == "state"]


# Documents


def test_the_same_content_is_stored_once(database: Database, workload: str) -> None:
    with database.writing() as store:
        assert not store.documents.add_workload(workload, WORKLOAD, packing.pack(WORKLOAD))
        row = store.documents.workload(workload, body=True)
    assert formats.digest(packing.unpack(type(WORKLOAD), row.body)) == workload
    assert (row.fragments, row.clients, row.models) == (4, 4, ["net"])


def test_what_is_not_there_is_not_found(database: Database) -> None:
    looks = (
        lambda store: store.documents.workload("x"),
        lambda store: store.documents.profile("x"),
        lambda store: store.runs.run("x"),
        lambda store: store.plans.plan("x"),
        lambda store: store.runs.comparison("x"),
        lambda store: store.deployments.deployment(7),
        lambda store: store.nodes.node("x"),
    )
    for look in looks:
        with pytest.raises(NotFoundError), database.reading() as store:
            look(store)


def test_a_list_goes_through_everything_once_while_more_arrives(database: Database, workload: str) -> None:
    ids = submit(database, workload, 7)
    seen: list[str] = []
    cursor = None
    while True:
        with database.reading() as store:
            page = store.runs.runs(state=None, workload_id=workload, cursor=cursor, limit=2)
        seen += [run.id for run in page.items]
        submit(database, workload)
        cursor = page.next
        if cursor is None:
            break
    assert seen == ids[::-1]


@pytest.mark.parametrize("cursor", ["zzz", "AAAA", "====", "9" * 50, "eC55"])
def test_a_foreign_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidInputError) as refused, database.reading() as store:
        store.runs.runs(state=None, workload_id=None, cursor=cursor, limit=2)
    assert refused.value.errors[0].place == "cursor"


def test_a_transaction_that_fails_leaves_nothing(database: Database, workload: str) -> None:
    def compare_and_fail(store: Store) -> None:
        store.runs.compare(workload_id=workload, profiles=[])
        raise RuntimeError

    with pytest.raises(RuntimeError), database.writing() as store:
        compare_and_fail(store)
    with database.reading() as store:
        assert store.runs.comparisons(cursor=None, limit=10).items == []


def test_a_reference_to_nothing_is_a_conflict(database: Database) -> None:
    with pytest.raises(ConflictError), database.writing() as store:
        store.runs.compare(workload_id="no such workload", profiles=[])


# Runs


def test_the_oldest_run_is_taken_first_and_only_once(database: Database, workload: str) -> None:
    ids = submit(database, workload, 3)
    taken = [claim(database) for _ in range(4)]
    assert [run.id for run in taken if run] == ids
    assert taken[3] is None
    assert all(run.state == "running" and run.attempts == 1 and run.fence == 1 for run in taken if run)


def test_workers_side_by_side_never_take_the_same_run(database: Database, workload: str) -> None:
    ids = submit(database, workload, 40)
    taken: list[str] = []

    def work() -> None:
        while (run := claim(database, threading.current_thread().name)) is not None:
            taken.append(run.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A worker may find all that is left locked by others and go home, so a last look takes what remains.
    work()
    assert Counter(taken) == Counter(ids)


def test_progress_is_kept_in_order_and_shown(database: Database, workload: str) -> None:
    (name,) = submit(database, workload)
    run = claim(database)
    assert run is not None
    for t in range(3):
        with database.writing() as store:
            event = Event(kind="progress", data={"t": t, "phase": "search"})
            assert store.runs.renew(name, run.fence, lease_ms=LEASE_MS, events=[event, event]) is None
    with database.reading() as store:
        assert store.runs.run(name).progress == {"t": 2, "phase": "search"}
        later = store.runs.events(name, after=4, limit=100)
    assert [event.seq for event in later] == [5, 6, 7, 8]


def test_a_lapsed_lease_queues_the_run_again_and_shuts_its_old_owner_out(
    database: Database, workload: str
) -> None:
    (name,) = submit(database, workload)
    slow = claim(database, "slow", lease_ms=-1000)
    assert slow is not None
    with database.writing() as store:
        assert store.runs.reap(attempts=3) == [name]
    quick = claim(database, "quick")
    assert quick is not None
    assert (quick.id, quick.attempts, quick.fence) == (name, 2, 2)
    for act in (
        lambda store: store.runs.renew(name, slow.fence, lease_ms=LEASE_MS),
        lambda store: store.runs.finish(name, slow.fence, state="succeeded"),
        lambda store: store.runs.release(name, slow.fence),
    ):
        with pytest.raises(LeaseLostError), database.writing() as store:
            act(store)
    with database.writing() as store:
        store.runs.finish(name, quick.fence, state="failed", failure={"code": "x", "detail": "y"})
    assert states(database, name) == ["queued", "running", "queued", "running", "failed"]


def test_a_run_that_loses_its_process_again_and_again_fails_with_its_reason(
    database: Database, workload: str
) -> None:
    (name,) = submit(database, workload)
    for _ in range(3):
        assert claim(database, lease_ms=-1000) is not None
        with database.writing() as store:
            store.runs.reap(attempts=3)
    assert claim(database) is None
    with database.reading() as store:
        run = store.runs.run(name)
    assert run.state == "failed"
    assert run.failure is not None
    assert run.failure["code"] == "process_lost"


def test_a_live_lease_is_left_alone(database: Database, workload: str) -> None:
    submit(database, workload)
    assert claim(database) is not None
    with database.writing() as store:
        assert store.runs.reap(attempts=3) == []


def test_final_states_are_final(database: Database, workload: str) -> None:
    (name,) = submit(database, workload)
    with database.writing() as store:
        assert store.runs.ask(name, "cancel").state == "cancelled"
    with database.writing() as store:
        assert store.runs.ask(name, "stop").state == "cancelled"
    assert claim(database) is None
    with pytest.raises(LeaseLostError), database.writing() as store:
        store.runs.finish(name, 0, state="succeeded")
    assert states(database, name) == ["queued", "cancelled"]


def test_a_running_run_is_told_what_is_wanted_and_cancelling_wins(database: Database, workload: str) -> None:
    (name,) = submit(database, workload)
    run = claim(database)
    assert run is not None
    told = []
    for wish in ("stop", "cancel", "stop"):
        with database.writing() as store:
            store.runs.ask(name, wish)
        with database.writing() as store:
            told.append(store.runs.renew(name, run.fence, lease_ms=LEASE_MS))
    assert told == ["stop", "cancel", "cancel"]


@pytest.mark.parametrize(("wish", "end"), [("stop", "stopped"), ("cancel", "cancelled")])
def test_a_wish_is_fulfilled_though_the_process_died(
    database: Database, workload: str, wish: str, end: str
) -> None:
    (name,) = submit(database, workload)
    assert claim(database, lease_ms=-1000) is not None
    with database.writing() as store:
        store.runs.ask(name, wish)
    with database.writing() as store:
        store.runs.reap(attempts=3)
    assert states(database, name)[-1] == end


def test_a_released_run_is_as_good_as_new(database: Database, workload: str) -> None:
    (name,) = submit(database, workload)
    run = claim(database)
    assert run is not None
    with database.writing() as store:
        store.runs.release(name, run.fence)
    again = claim(database)
    assert again is not None
    assert (again.id, again.attempts, again.fence) == (name, 1, 2)


def test_a_run_has_at_most_one_plan(database: Database, workload: str) -> None:
    plan = make_plan(WORKLOAD, [PROFILE], strategy="gslice")
    (name,) = submit(database, workload)

    def add(store: Store) -> str:
        digest, body = formats.digest(plan), packing.pack(plan)
        profiles = [formats.digest(PROFILE)]
        return store.plans.add(
            plan, digest=digest, run_id=name, workload_id=workload, profiles=profiles, body=body
        ).id

    with database.writing() as store:
        plan_id = add(store)
    with pytest.raises(ConflictError), database.writing() as store:
        add(store)
    with database.reading() as store:
        row = store.plans.plan(plan_id, body=True)
    assert packing.unpack(type(plan), row.body) == plan
    assert (row.share, row.stages) == (plan.objective.share, len(plan.stages))


# Deployments


def deploy(store: Store, plan_id: str, after: int) -> int:
    """Append a generation."""
    row = store.deployments.append(
        after=after, plan_id=plan_id, rollback_of=None, deployed_by=None, instances=0, gpus=0, body=b""
    )
    return row.generation


def test_generations_grow_by_one_and_never_fork(database: Database, workload: str) -> None:
    plan = make_plan(WORKLOAD, [PROFILE], strategy="gslice")
    with database.writing() as store:
        plan_id = store.plans.add(
            plan, digest="d", run_id="r", workload_id=workload, profiles=[], body=b""
        ).id
    won: list[int] = []
    lost: list[int] = []
    start = threading.Barrier(4)

    def race() -> None:
        start.wait()
        for _ in range(5):
            with database.reading() as store:
                seen = store.deployments.generation()
            try:
                with database.writing() as store:
                    won.append(deploy(store, plan_id, seen))
            except GenerationError:
                lost.append(seen)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(1, len(won) + 1))
    assert len(won) + len(lost) == 20


# Nodes


def register(database: Database, name: str, gpus: list[str], lease_ms: int = LEASE_MS) -> tuple[str, bool]:
    """Register a node; gives its id and whether it is new."""
    listed = [{"id": gpu, "type": "cpu", "memory_mb": 8000.0} for gpu in gpus]
    with database.writing() as store:
        node, created = store.nodes.register(name=name, address="http://x", gpus=listed, lease_ms=lease_ms)
        return node.id, created


def test_a_known_name_keeps_its_id_and_gets_new_data(database: Database) -> None:
    first, created = register(database, "a", ["a/0", "a/1"])
    assert created
    second, created = register(database, "a", ["a/1", "a/2"])
    assert (second, created) == (first, False)
    with database.reading() as store:
        assert [gpu["id"] for gpu in store.nodes.node(first).gpus] == ["a/1", "a/2"]
    register(database, "b", ["a/0"])  # which "a" has no more


def test_a_gpu_belongs_to_one_live_node(database: Database) -> None:
    register(database, "a", ["g"])
    with pytest.raises(ConflictError, match="'g' is node 'a'"):
        register(database, "b", ["g"])
    with pytest.raises(NotFoundError), database.reading() as store:
        store.nodes.node("b")


def test_the_gpu_of_a_node_that_is_gone_can_move(database: Database) -> None:
    gone, _ = register(database, "a", ["g", "h"], lease_ms=-1)
    register(database, "b", ["g"])
    with database.reading() as store:
        assert [gpu["id"] for gpu in store.nodes.node(gone).gpus] == ["h"]
        assert [node.name for node in store.nodes.live()] == ["b"]


def test_a_status_renews_the_lease(database: Database) -> None:
    node, _ = register(database, "a", ["g"], lease_ms=-1)
    with database.reading() as store:
        assert store.nodes.live() == []
    reports = [Report(node_id=node, generation=3, workers=[]), Report(node_id="x", generation=3, workers=[])]
    with database.writing() as store:
        assert store.nodes.report(reports, lease_ms=LEASE_MS) == {node}
        assert store.nodes.report(reports[:1], lease_ms=LEASE_MS) == {node}
    with database.reading() as store:
        assert [row.id for row in store.nodes.live()] == [node]
        assert store.nodes.statuses()[node].generation == 3


# Answers remembered, the audit log, and the clock


def test_an_idempotency_key_is_claimed_once_also_side_by_side(database: Database) -> None:
    entered = threading.Event()
    claims: list[bool] = []

    def first() -> None:
        with database.writing() as store:
            claims.append(store.idempotency.claim("k", "key", "f"))
            entered.set()
            time.sleep(0.2)
            store.idempotency.remember("k", "key", status=201, headers={}, body=b"{}")

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with database.writing() as store:
        claims.append(store.idempotency.claim("k", "key", "f"))
        found = store.idempotency.find("k", "key")
    thread.join()
    assert claims == [True, False]
    assert found is not None
    assert (found.status, found.body) == (201, b"{}")


def test_old_answers_are_forgotten(database: Database) -> None:
    for key in ("old", "new"):
        with database.writing() as store:
            store.idempotency.claim("k", key, "f")
    with database.engine.begin() as connection:
        age = update(IdempotencyRow).where(IdempotencyRow.idempotency_key == "old")
        connection.execute(age.values(created_ms=IdempotencyRow.created_ms - 10_000))
    with database.writing() as store:
        store.idempotency.forget(older_than_ms=5_000)
        assert store.idempotency.find("k", "old") is None
        assert store.idempotency.find("k", "new") is not None


def test_the_audit_log_is_read_backwards(database: Database) -> None:
    for number in range(5):
        with database.writing() as store:
            store.audit.add(action="deploy", target=str(number), key_id=None, key_name="me", detail={})
    with database.reading() as store:
        page = store.audit.entries(before=None, limit=2)
        rest = store.audit.entries(before=page[-1].id, limit=10)
    assert [entry.target for entry in page + rest] == ["4", "3", "2", "1", "0"]


def test_the_databases_clock_is_ours_within_a_minute(database: Database) -> None:
    assert abs(database.clock_ms() / 1000 - time.time()) < 60
