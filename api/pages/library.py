"""Stored documents, parsed once: plans, workloads and profiles never change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from api import packing
from api.database import Database
from api.pictures.account import Account
from planner.plan import Plan
from planner.profile import Profile
from planner.workload import Workload

_KEPT = 16
Value = TypeVar("Value")


class Library:
    """The last few plans that somebody looked at, with what they were made from."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._profiles: OrderedDict[str, Profile] = OrderedDict()
        self._workloads: OrderedDict[str, Workload] = OrderedDict()
        self._lock = Lock()

    def account(self, plan_id: str) -> Account:
        """A plan with its workload and profiles. Raises NotFoundError."""
        return self._find(self._accounts, plan_id, self._read_account)

    def workload(self, name: str) -> Workload:
        """A workload. Raises NotFoundError."""
        return self._find(self._workloads, name, self._read_workload)

    def profile(self, name: str) -> Profile:
        """A profile. Raises NotFoundError."""
        return self._find(self._profiles, name, self._read_profile)

    def _find(self, kept: OrderedDict[str, Value], name: str, read: Callable[[str], Value]) -> Value:
        with self._lock:
            if name in kept:
                kept.move_to_end(name)
                return kept[name]
        value = read(name)
        with self._lock:
            kept[name] = value
            while len(kept) > _KEPT:
                kept.popitem(last=False)
        return value

    def _read_account(self, plan_id: str) -> Account:
        with self._database.reading() as store:
            row = store.plans.plan(plan_id, body=True)
            workload_id, profiles, body = row.workload_id, list(row.profiles), row.body
        return Account(
            packing.unpack(Plan, body),
            self.workload(workload_id),
            [self.profile(name) for name in profiles],
        )

    def _read_workload(self, name: str) -> Workload:
        with self._database.reading() as store:
            body = store.documents.workload(name, body=True).body
        return packing.unpack(Workload, body)

    def _read_profile(self, name: str) -> Profile:
        with self._database.reading() as store:
            body = store.documents.profile(name, body=True).body
        return packing.unpack(Profile, body)
