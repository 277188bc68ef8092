"""Who may do what on the pages, and what another site cannot do through somebody's browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.pages.routing import inner
from tests.api.pages.test_pages import plan_of, stored
from tests.api.service import RunningService

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def visit(service: RunningService) -> Iterator[Callable[..., httpx.Client]]:
    """Browsers, so to say, signed in with a fresh key of these scopes."""
    opened: list[httpx.Client] = []

    def start(*scopes: str, key: str | None = None) -> httpx.Client:
        client = httpx.Client(base_url=service.address, timeout=30)
        opened.append(client)
        if scopes or key:
            answer = sign_in(client, key or service.key(*scopes))
            assert answer.status_code == 303, answer.text
        return client

    yield start
    for client in opened:
        client.close()


def token(text: str) -> str:
    """The token of the first form of a page."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
    assert found is not None, text
    return found[1]


def sign_in(client: httpx.Client, key: str, next: str = "/") -> httpx.Response:
    form = {"csrf": token(client.get("/sign-in").text), "key": key, "next": next}
    return client.post("/sign-in", data=form)


def test_every_page_asks_for_a_sign_in_and_leads_back(
    service: RunningService, visit: Callable[..., httpx.Client]
) -> None:
    client = visit()
    for path in ("/runs", "/plans", "/compare", "/nodes", "/submit", "/plans/x", "/runs/x", "/compare/x"):
        answer = client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/sign-in?next={path}"
    # A part of a page that refreshes itself after the sign-in has ended sends the whole page there.
    assert client.get("/nodes", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/sign-in"
    assert sign_in(client, service.key("read"), next="/plans").headers["location"] == "/plans"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "", "a\nb"]
)
def test_a_sign_in_leads_to_no_other_site(elsewhere: str) -> None:
    assert inner(elsewhere) == "/"


def test_the_cookie_is_out_of_reach_and_the_key_is_in_no_page(
    service: RunningService, visit: Callable[..., httpx.Client], capfd: pytest.CaptureFixture[str]
) -> None:
    client, key = visit(), service.key("read", "plan", "deploy")
    plan = plan_of(service, "graft")
    answer = sign_in(client, key)
    (cookie,) = (
        value for value in answer.headers.get_list("set-cookie") if value.startswith("regraft_session=")
    )
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    secret = key.split("_", 2)[2]  # in which there may be more of these
    assert len(secret) > 40
    assert secret not in cookie
    for path in ("/runs", "/plans", f"/plans/{plan}", "/compare", "/nodes", "/submit"):
        page = client.get(path)
        assert page.status_code == 200, page.text
        assert secret not in page.text
    assert sign_in(visit(), key[:-1] + ("y" if key.endswith("x") else "x")).status_code == 401
    out, err = capfd.readouterr()
    assert secret[:-1] not in out + err


def test_policies_are_strict_and_no_page_has_inline_script_or_style(
    service: RunningService, visit: Callable[..., httpx.Client]
) -> None:
    client = visit("read", "plan", "deploy")
    plan = plan_of(service, "graft")
    other = plan_of(service, "gslice")
    pages = ["/runs", "/plans", f"/plans/{plan}", "/compare", f"/compare/plans?before={plan}&after={other}"]
    for path in [*pages, "/nodes", "/submit", "/sign-in", "/plans/none", "/nothing"]:
        answer = client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", answer.text) == []
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))
        # Everything a page loads or leads to is this service's own.
        loaded = re.findall(r'(?:src|href|action|hx-get)="([^"]*)"', answer.text)
        assert [address for address in loaded if not address.startswith(("/", "#"))] == []


def test_a_form_from_elsewhere_changes_nothing(
    service: RunningService, visit: Callable[..., httpx.Client]
) -> None:
    client = visit("read", "plan", "deploy")
    run = stored(service).submit_run("graft")
    good = token(client.get("/runs").text)

    def cancel(data: dict[str, str], **headers: str) -> int:
        return client.post(f"/runs/{run}/cancel", data=data, headers=headers).status_code

    assert cancel({"once": "a"}) == 403
    assert cancel({"csrf": "0" * 64}) == 403
    # Another visitor's token is no better.
    assert cancel({"csrf": token(visit("read", "plan").get("/runs").text)}) == 403
    assert cancel({"csrf": good}, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert cancel({"csrf": good}, **{"Sec-Fetch-Site": "same-site"}) == 403
    assert cancel({"csrf": good}, Origin="https://evil.example") == 403
    assert client.post(f"/runs/{run}/cancel", json={"csrf": good}).status_code == 415
    assert service.client().run(run).state == "queued"
    assert cancel({"csrf": good}, Origin=service.address, **{"Sec-Fetch-Site": "same-origin"}) == 303
    assert service.client().run(run).state == "cancelled"


def test_the_cookie_opens_pages_and_not_the_api(visit: Callable[..., httpx.Client]) -> None:
    client = visit("read", "plan", "deploy")
    assert client.get("/v1/plans").status_code == 401
    assert client.post("/v1/deployments", json={"plan": "x"}).status_code == 401


def test_a_key_without_the_scope_sees_why_and_can_do_nothing(
    service: RunningService, visit: Callable[..., httpx.Client]
) -> None:
    plan, run = plan_of(service, "graft"), stored(service).submit_run("graft")
    client = visit("read")
    page = client.get(f"/plans/{plan}").text
    assert "lacks the scope “deploy”" in page
    assert f'action="/plans/{plan}/deploy"' not in page
    assert "lacks the scope “plan”" in client.get(f"/runs/{run}").text
    assert "lacks the scope “plan”" in client.get("/submit").text
    form = {"csrf": token(page)}
    for path in (f"/plans/{plan}/deploy", "/nodes/roll-back", f"/runs/{run}/stop", "/submit"):
        answer = client.post(path, data=form)
        assert answer.status_code == 403, path
        assert "this needs the scope" in answer.text
    assert service.client().run(run).state == "queued"
    # Whoever may not even read sees nothing.
    assert visit("plan").get(f"/plans/{plan}").status_code == 403


def test_a_revoked_key_ends_its_sign_ins_and_a_false_one_begins_none(
    service: RunningService, visit: Callable[..., httpx.Client]
) -> None:
    key = service.key("read")
    client = visit(key=key)
    assert client.get("/runs").status_code == 200
    with service.database.writing() as store:
        store.keys.revoke(key.split("_")[1])
    assert client.get("/runs").status_code == 303
    for false in (key, "rg_00000000_x", "nonsense", ""):
        answer = sign_in(visit(), false)
        assert answer.status_code in (401, 422)
        assert 'role="alert"' in answer.text


def test_a_changed_or_foreign_cookie_is_nobody(
    service: RunningService, visit: Callable[..., httpx.Client], start_service: Callable[..., RunningService]
) -> None:
    client = visit("read")
    cookie = client.cookies["regraft_session"]
    prefix, expires, nonce, mac = cookie.split(".")
    for changed in (
        f"{prefix}.{int(expires) + 1}.{nonce}.{mac}",
        f"00000000.{expires}.{nonce}.{mac}",
        f"{prefix}.1.{nonce}.{mac}",
        f"{prefix}.{expires}.{nonce}.",
        "",
        "....",
    ):
        answer = httpx.get(f"{service.address}/runs", cookies={"regraft_session": changed})
        assert answer.status_code == 303, changed
    # Another process knows the cookie only if it was given the same secret.
    database = service.settings.database
    other = start_service(database, run_workers=0)
    assert httpx.get(f"{other.address}/runs", cookies={"regraft_session": cookie}).status_code == 303
    first, second = (start_service(database, run_workers=0, session_secret="one for all") for _ in range(2))
    with httpx.Client(base_url=first.address) as there:
        sign_in(there, service.key("read"))
        shared = there.cookies["regraft_session"]
    assert httpx.get(f"{second.address}/runs", cookies={"regraft_session": shared}).status_code == 200


def test_a_link_from_elsewhere_finds_who_is_signed_in(visit: Callable[..., httpx.Client]) -> None:
    # A strict cookie is not sent along a link of another site: a page of ours leads there once more.
    answer = visit().get("/plans/x?a=b", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0;url=/plans/x?a=b"' in answer.text


def test_an_address_where_nothing_is(visit: Callable[..., httpx.Client]) -> None:
    client = visit("read")
    for path in (
        "/nothing",
        "/plans/none",
        "/runs/none",
        "/compare/none",
        "/runs?cursor=x",
        "/assets/none.js",
    ):
        answer = client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
    problem = client.get("/nothing", headers={"Accept": "application/json"})
    assert problem.headers["content-type"] == "application/problem+json"


def test_pages_can_be_left_out(start_service: Callable[..., RunningService]) -> None:
    service = start_service(run_workers=0, pages=False)
    assert httpx.get(f"{service.address}/runs").status_code == 404
    assert httpx.get(f"{service.address}/livez").status_code == 200


def test_third_party_files_are_named_with_their_licence() -> None:
    package = Path(__file__).parents[3] / "api" / "pages"
    told = (package / "THIRD_PARTY.md").read_text()
    ours = {"pages.css", "pages.js", "mark.svg"}
    for file in (package / "static").iterdir():
        assert file.name in ours or f"static/{file.name}" in told, file.name
