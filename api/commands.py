"""The service's commands: serve, db, keys. What they need is imported when they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from api.database import Database

INPUT_WRONG = 2

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="REGRAFT_DATABASE",
        help="sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME.",
    ),
]
DEFAULT_DATABASE = "sqlite:///regraft.sqlite"

serve = typer.Typer(add_completion=False, rich_markup_mode=None)
db = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Look after the database."
)
keys = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="API keys and their scopes."
)


@serve.command("serve")
def serve_command(
    host: Annotated[
        str, typer.Option(help="Address to listen on. The default is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    port_file: Annotated[Path | None, typer.Option(help="File that gets the port's number.")] = None,
    database: DatabaseOption = DEFAULT_DATABASE,
    run_workers: Annotated[
        int | None,
        typer.Option(min=0, max=256, help="Plan runs solved at a time by this process. [default: 1]"),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Bring the database's schema up to date first.")
    ] = False,
) -> None:
    """Serve the pages and the REST API (see /docs) and solve plan runs, until SIGTERM or Ctrl-C.

    Further settings are environment variables, REGRAFT_…; docs/service.md lists them.
    """
    from pydantic import ValidationError

    from api import schema
    from api.application import create_app
    from api.server import serve as listen
    from api.settings import Settings

    try:
        settings = Settings(database=database)
        if run_workers is not None:
            settings = settings.model_copy(update={"run_workers": run_workers})
    except ValidationError as error:
        for item in error.errors():
            typer.echo(f"REGRAFT_{str(item['loc'][0]).upper()}: {item['msg']}", err=True)
        raise typer.Exit(INPUT_WRONG) from None

    def tell(address: str) -> None:
        typer.echo(f"Regraft listens on {address}")
        if settings.pages:
            typer.echo(f"Pages: {address}/")
        if settings.docs:
            typer.echo(f"API documentation: {address}/docs")

    with _opened(database) as opened:
        if upgrade:
            schema.upgrade(opened)
        schema.check(opened)
        try:
            listen(create_app(settings, opened), host=host, port=port, port_file=port_file, tell=tell)
        except OSError as error:
            typer.echo(f"cannot listen on {host}:{port}: {error.strerror or error}", err=True)
            raise typer.Exit(INPUT_WRONG) from None


@db.callback()
def _db() -> None:
    """Look after the database."""


@db.command("upgrade")
def upgrade_command(database: DatabaseOption = DEFAULT_DATABASE) -> None:
    """Bring the schema up to date. Does nothing where it is."""
    from api import schema

    with _opened(database) as opened:
        before = schema.current(opened)
        schema.upgrade(opened)
        after = schema.current(opened)
    typer.echo(f"schema {after}" if before == after else f"schema {before or 'none'} → {after}")


@db.command("backup")
def backup_command(
    target: Annotated[Path, typer.Argument(help="File that gets the copy; must not be there yet.")],
    database: DatabaseOption = DEFAULT_DATABASE,
) -> None:
    """Copy a SQLite database as it is at this moment; the service may go on using it."""
    from api.backup import BackupError, backup
    from api.schema import current

    with _opened(database) as opened:
        try:
            if opened.is_sqlite and current(opened) is None:
                raise BackupError("there is no schema in this database")
            size = backup(opened, target)
        except BackupError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(INPUT_WRONG) from None
    typer.echo(f"{target}: {size} bytes")


@keys.callback()
def _keys() -> None:
    """API keys and their scopes."""


@keys.command("create")
def create_key_command(
    name: Annotated[str, typer.Option(help="Whose key it is; shown in lists and in the audit log.")],
    scopes: Annotated[str, typer.Option(help="Some of read, plan, deploy, agent, with commas between.")],
    database: DatabaseOption = DEFAULT_DATABASE,
) -> None:
    """Make a key and print it. It is stored hashed: nobody can read it again."""
    from api import schema
    from api.keys import create_key

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with _opened(database) as opened:
        schema.check(opened)
        try:
            with opened.writing() as store:
                key = create_key(store, name=name, scopes=wanted)
        except ValueError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(INPUT_WRONG) from None
    typer.echo(key)


@keys.command("list")
def list_keys_command(database: DatabaseOption = DEFAULT_DATABASE) -> None:
    """Show all keys: id, prefix, name, scopes, when made, when revoked."""
    from api import schema
    from api.presenting import moment

    with _opened(database) as opened:
        schema.check(opened)
        with opened.reading() as store:
            rows = store.keys.keys()
    for row in rows:
        state = "valid" if row.revoked_ms is None else f"revoked {moment(row.revoked_ms):%Y-%m-%d %H:%M}"
        made = f"{moment(row.created_ms):%Y-%m-%d %H:%M}"
        typer.echo("\t".join([row.id, f"rg_{row.prefix}_…", row.name, ",".join(row.scopes), made, state]))


@keys.command("revoke")
def revoke_key_command(
    name: Annotated[
        str, typer.Argument(help="Name, id or prefix of the key; all keys of that name are revoked.")
    ],
    database: DatabaseOption = DEFAULT_DATABASE,
) -> None:
    """Revoke a key: it stops working within seconds, and stays in the list."""
    from api import schema

    with _opened(database) as opened:
        schema.check(opened)
        with opened.writing() as store:
            rows = store.keys.revoke(name)
            for row in rows:
                store.audit.add(
                    action="key.revoke", target=row.id, key_id=None, key_name=None, detail={"name": row.name}
                )
    if not rows:
        typer.echo(f"there is no valid key {name!r}; `regraft keys list` shows all", err=True)
        raise typer.Exit(INPUT_WRONG)
    for row in rows:
        typer.echo(f"revoked {row.id} ({row.name})")


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    """The database, with what is wrong with it as a message and exit code 2."""
    from api.database import Database
    from api.errors import ServiceError
    from api.schema import OldSchemaError

    try:
        opened = Database(url)
    except ValueError as error:
        typer.echo(f"--database: {error}", err=True)
        raise typer.Exit(INPUT_WRONG) from None
    try:
        yield opened
    except OldSchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(INPUT_WRONG) from None
    except ServiceError as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        typer.echo(f"{error.detail}{cause}", err=True)
        raise typer.Exit(INPUT_WRONG) from None
    finally:
        opened.close()
