"""Who may enter, whatever stands before the console and in the environment of the process."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rindle_sync.config import plain_settings
from rindle_sync.errors import ConfigurationError
from rindle_sync.web.console.app import Console
from rindle_sync.web.console.session import COOKIE
from tests.support.processes import Shell, free_port, settings_for
from tests.support.proxies import nginx, small_proxy
from tests.support.server import served
from tests.support.world import World, a_job_runner
from tests.web.test_console import TOKEN, a_browser, key_in, signed_in
from tests.web.test_probes import far_end, operated

__all__ = ["far_end"]

BASE = "https://ops.example.com/ops/rindle"
Proxy = Callable[..., AbstractAsyncContextManager[int]]
UVICORNS = """
import os
os.environ |= {
    "FORWARDED_ALLOW_IPS": "*",
    "WEB_CONCURRENCY": "many",
    "UVICORN_ROOT_PATH": "/elsewhere",
    "UVICORN_HOST": "0.0.0.0",
}
"""


# who is local


@pytest.mark.parametrize(
    "sent",
    [
        {"x-forwarded-for": "127.0.0.1"},
        {"X-Forwarded-Proto": "http"},
        {"x-forwarded-host": "localhost"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"via": "1.1 proxy"},
        {"cf-connecting-ip": "127.0.0.1"},
        {"x-original-forwarded-for": "127.0.0.1"},
        {"x-client-ip": ""},
    ],
)
async def test_a_request_that_a_proxy_forwards_is_never_local(
    world: World, sent: dict[str, str]
) -> None:
    async with a_browser(world, token=None) as reader:
        assert (await reader.get("/rows")).status_code == 200
        assert (await reader.get("/rows", headers=sent)).status_code == 401


@pytest.mark.parametrize(
    "host",
    ["", 'a"b.evil.example', "a{b}.evil.example", "\u00fc.evil.example", "localhost@evil.example"],
)
async def test_a_name_that_the_library_cannot_read_is_not_local(world: World, host: str) -> None:
    """A library of ours takes the address of this server for it, and any name may lead here."""
    async with a_browser(world, token=None) as reader:
        answer = await reader.get("/rows", headers=[(b"host", host.encode("latin-1"))])

    assert answer.status_code == 401


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8001", "127.0.0.1:8001", "[::1]:8001"])
async def test_this_machine_has_these_names(world: World, host: str) -> None:
    async with a_browser(world, token=None) as reader:
        assert (await reader.get("/rows", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("proxy", [nginx, small_proxy])
async def test_a_proxy_without_a_word_of_itself_makes_nobody_local(
    world: World, tmp_path: Path, proxy: Proxy
) -> None:
    console = Console([a_job_runner(world)], None)
    async with (
        served(console) as upstream,
        proxy(tmp_path, upstream, "", strips=False) as port,
        httpx.AsyncClient() as client,
    ):
        direct = await client.get(f"http://127.0.0.1:{upstream}/rows")
        forwarded = await client.get(f"http://127.0.0.1:{port}/rows")

    assert (direct.status_code, forwarded.status_code) == (200, 401)


async def test_nothing_of_the_server_librarys_environment_opens_the_console(
    tmp_path: Path, sqlite_tables_url: str, far_end: Any
) -> None:
    port = free_port()
    settings = settings_for(sqlite_tables_url, far_end, console_port=port, console_host="0.0.0.0")
    shell = Shell(tmp_path, settings, prelude=UVICORNS)
    other = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        operated(shell, "run") as operator,
        httpx.AsyncClient(base_url=f"http://localhost:{port}", transport=other) as stranger,
    ):
        here = await operator.get("/rows")
        claims = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"}
        claimed = await stranger.get("/rows", headers=claims)

    assert (here.status_code, claimed.status_code) == (200, 401)


# what console_base_url says


@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("proxy", [nginx, small_proxy])
async def test_an_operator_acts_through_a_proxy_that_passes_on_its_upstreams_name(
    world: World, tmp_path: Path, proxy: Proxy, strips: Any
) -> None:
    row = await world.track()
    console = Console([a_job_runner(world)], TOKEN, BASE)
    async with (
        served(console) as upstream,
        proxy(tmp_path, upstream, "/ops/rindle", strips=strips) as port,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"host": "ops.example.com", "origin": "https://ops.example.com"},
        ) as browser,
    ):
        form = await browser.get("/ops/rindle/rows")
        entered = await browser.post("/ops/rindle/sign-in", data={"token": TOKEN})
        cookie = entered.headers["set-cookie"]
        session = cookie.partition(";")[0]
        page = await browser.get("/ops/rindle/rows", headers={"cookie": session})
        synced = await browser.post(
            f"/ops/rindle/rows/{row.id}/sync",
            data={"key": key_in(page.text)},
            headers={"cookie": session},
        )
        style = await browser.get("/ops/rindle/static/console.css")

    assert form.status_code == 401
    assert 'action="/ops/rindle/sign-in"' in form.text
    assert entered.headers["location"] == "/ops/rindle/"
    assert "; Secure" in cookie
    assert "; Path=/ops/rindle;" in cookie
    assert f'href="/ops/rindle/rows/{row.id}"' in page.text
    assert synced.headers["location"] == f"/ops/rindle/rows/{row.id}?done=changed"
    assert style.status_code == 200


@pytest.mark.parametrize(
    ("base_url", "origin", "status"),
    [
        (BASE, "https://ops.example.com", 303),
        (BASE, "http://ops.example.com", 403),
        (BASE, "https://evil.example.com", 403),
        (BASE, "null", 403),
        ("https://ops.example.com:443", "https://ops.example.com", 303),
        ("https://OPS.example.com:8443", "https://ops.example.com:8443", 303),
        (None, "http://localhost:8001", 303),
        (None, "https://localhost:8001", 303),
        (None, "https://ops.example.com", 403),
        (None, "null", 403),
    ],
)
async def test_a_form_comes_from_the_consoles_own_address(
    world: World, base_url: str | None, origin: str, status: int
) -> None:
    transport = httpx.ASGITransport(Console([a_job_runner(world)], TOKEN, base_url))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8001") as browser:
        answer = await browser.post("/sign-in", data={"token": TOKEN}, headers={"origin": origin})

    assert answer.status_code == status
    assert "console_base_url" in answer.text or status == 303


async def test_the_cookie_and_redirects_trust_no_header(world: World) -> None:
    claims = {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}
    async with a_browser(world, address="http://evil.example") as browser:
        browser.headers.update(claims)
        answer = await browser.post("/sign-in", data={"token": TOKEN})
        slash = await browser.get("/rows/")

    assert answer.headers["location"] == "/"
    assert "Secure" not in answer.headers["set-cookie"]
    assert slash.status_code == 404
    assert "location" not in slash.headers


async def test_signing_out_takes_the_cookie_away_where_it_is(world: World) -> None:
    transport = httpx.ASGITransport(Console([a_job_runner(world)], TOKEN, BASE))
    address = "https://ops.example.com"
    async with httpx.AsyncClient(transport=transport, base_url=address) as browser:
        await browser.post("/ops/rindle/sign-in", data={"token": TOKEN})
        key = key_in((await browser.get("/ops/rindle/rows")).text)
        await browser.post("/ops/rindle/sign-out", data={"key": key})

        assert COOKIE not in browser.cookies


async def test_without_an_address_an_operator_on_this_machine_signs_in_over_http(
    world: World,
) -> None:
    async with a_browser(world) as browser:
        await signed_in(browser)

        assert (await browser.get("/rows")).status_code == 200


# the setting


@pytest.mark.parametrize(
    "address",
    [
        "ops.example.com",
        "ftp://ops.example.com",
        "https://user:secret@ops.example.com",
        "https://ops.example.com/rindle?a=b",
        "https://ops.example.com/rindle#a",
        "https://ops.example.com/../rindle",
        "https://ops.example.com//rindle",
        "https://",
        "https://ops.example.com/\r\nset-cookie: a=b",
    ],
)
def test_an_address_that_browsers_cannot_use_is_refused_by_its_name(address: str) -> None:
    with pytest.raises(ConfigurationError, match="console_base_url: must be an address") as error:
        plain_settings(console_base_url=address, console_token=TOKEN)

    assert "secret" not in str(error.value)


def test_a_console_behind_a_proxy_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RINDLE_CONSOLE_TOKEN"):
        plain_settings(console_base_url=BASE)

    file = tmp_path / "token"
    file.write_text(TOKEN)
    settings = plain_settings(console_base_url=BASE + "/", console_token_file=file)
    assert settings.console_base_url == BASE
