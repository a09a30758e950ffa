"""The URL of a direct upload: files in chunks, and pages of another origin in a real browser."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.async_api import Page, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import UploadState
from tests.support.processes import PATIENCE, eventually, free_port

UPLOADS = "/video/v1/uploads"
APP = "https://app.example"
UPCHUNK = os.environ.get("RINDLE_UPCHUNK", "")
"""The file `upchunk.mjs` of the npm package @mux/upchunk, which Mux's own uploaders use."""

IN_CHUNKS = """async url => {
  const file = new Uint8Array(600_000), seen = [];
  for (let first = 0; first < file.length; first += 262_144) {
    const chunk = file.slice(first, first + 262_144);
    const answer = await fetch(url, {method: "PUT", body: chunk, headers: {
      "Content-Type": "video/mp4",
      "Content-Range": `bytes ${first}-${first + chunk.length - 1}/${file.length}`}});
    seen.push([answer.status, answer.headers.get("Range")]);
  }
  return seen;
}"""
BY_UPCHUNK = """async url => {
  const {createUpload} = await import("/upchunk.mjs");
  const file = new File([new Uint8Array(600_000)], "a.mp4", {type: "video/mp4"});
  return await new Promise(resolve => {
    const upload = createUpload({endpoint: url, file, chunkSize: 256});
    upload.on("success", () => resolve("success"));
    upload.on("error", error => resolve(error.detail.message));
  });
}"""


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator()


@pytest.fixture
async def mux(emulator: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app),
        base_url="https://api.mux.example",
        auth=("emulator-token-id", "emulator-token-secret"),
    ) as client:
        yield client


async def new_url(mux: httpx.AsyncClient, **asked: Any) -> tuple[str, str]:
    """The id of an upload, and its URL."""
    answer = await mux.post(UPLOADS, json={"cors_origin": APP, **asked})
    upload = answer.json()["data"]
    return upload["id"], upload["url"]


async def put(
    mux: httpx.AsyncClient, url: str, content_range: str, content: bytes
) -> tuple[int, str | None]:
    """The status of a chunk, and what has arrived by then."""
    answer = await mux.put(url, content=content, headers={"Content-Range": content_range})
    return answer.status_code, answer.headers.get("range")


async def status_of(mux: httpx.AsyncClient, upload_id: str) -> UploadState:
    data = (await mux.get(f"{UPLOADS}/{upload_id}")).json()["data"]
    return UploadState(data["status"])


# Chunks


async def test_a_file_of_unknown_size_ends_with_the_chunk_that_names_it(
    mux: httpx.AsyncClient,
) -> None:
    upload_id, url = await new_url(mux)
    assert await put(mux, url, "bytes 0-2/*", b"abc") == (308, "bytes=0-2")
    assert await put(mux, url, "bytes 3-5/*", b"def") == (308, "bytes=0-5")
    assert await status_of(mux, upload_id) is UploadState.WAITING
    assert await put(mux, url, "bytes 6-6/7", b"g") == (200, None)
    assert await status_of(mux, upload_id) is UploadState.ASSET_CREATED


async def test_a_sender_can_ask_how_much_has_arrived(mux: httpx.AsyncClient) -> None:
    _, url = await new_url(mux)
    assert await put(mux, url, "bytes */6", b"") == (308, None)
    await put(mux, url, "bytes 0-2/6", b"abc")
    assert await put(mux, url, "bytes */6", b"") == (308, "bytes=0-2")
    await put(mux, url, "bytes 3-5/6", b"def")
    assert await put(mux, url, "bytes */6", b"") == (200, None)


async def test_a_chunk_beyond_a_gap_is_not_kept_and_one_sent_again_does_no_harm(
    mux: httpx.AsyncClient, emulator: MuxEmulator
) -> None:
    _, url = await new_url(mux)
    assert await put(mux, url, "bytes 3-5/9", b"def") == (308, None)
    assert await put(mux, url, "bytes 0-2/9", b"abc") == (308, "bytes=0-2")
    assert await put(mux, url, "bytes 6-8/9", b"ghi") == (308, "bytes=0-2")
    assert await put(mux, url, "bytes 0-2/9", b"abc") == (308, "bytes=0-2")
    assert await put(mux, url, "bytes 3-8/9", b"defghi") == (200, None)
    assert await put(mux, url, "bytes 3-8/9", b"defghi") == (200, None)
    assert len(emulator.truths()) == 1


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-5/6",  # more than the body has
        "bytes 0-1/6",  # less
        "bytes 4-6/6",  # beyond the end
        "bytes 6-4/9",
        "bytes 0-2",
        "0-2/6",
        "bytes ٠-٢/٦",
        "bytes 0-2/-6",
        "bytes " + "9" * 5000 + "-2/6",
        "",
    ],
)
async def test_a_wrong_content_range_is_refused_and_nothing_is_kept(
    mux: httpx.AsyncClient, content_range: str
) -> None:
    upload_id, url = await new_url(mux)
    answer = await mux.put(url, content=b"abc", headers={b"Content-Range": content_range.encode()})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_parameters"
    assert await put(mux, url, "bytes */6", b"") == (308, None)
    assert await status_of(mux, upload_id) is UploadState.WAITING


async def test_a_cancelled_upload_takes_no_more_chunks(mux: httpx.AsyncClient) -> None:
    upload_id, url = await new_url(mux)
    await put(mux, url, "bytes 0-2/6", b"abc")
    await mux.put(f"{UPLOADS}/{upload_id}/cancel")
    assert await put(mux, url, "bytes 3-5/6", b"def") == (403, None)


async def test_a_whole_file_is_taken_once(mux: httpx.AsyncClient) -> None:
    _, url = await new_url(mux)
    assert (await mux.put(url, content=b"")).status_code == 200
    assert (await mux.put(url, content=b"again")).status_code == 403


# Other origins


async def test_a_preflight_allows_the_origin_of_the_upload_to_send_chunks(
    mux: httpx.AsyncClient, emulator: MuxEmulator
) -> None:
    _, url = await new_url(mux)
    asked = {
        "Origin": APP,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-range,content-type",
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=emulator.app)) as browser:
        answer = await browser.options(url, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert answer.headers["access-control-allow-headers"] == "content-range,content-type"
    assert (emulator.calls["send_bytes"], emulator.calls["upload_preflight"]) == (0, 1)


@pytest.mark.parametrize(
    ("cors_origin", "origin", "allowed"),
    [(APP, APP, APP), ("*", APP, "*"), (APP, "https://evil.example", None), (APP, None, None)],
)
async def test_only_pages_of_the_uploads_origin_may_read_the_answers(
    mux: httpx.AsyncClient, cors_origin: str, origin: str | None, allowed: str | None
) -> None:
    _, url = await new_url(mux, cors_origin=cors_origin)
    headers = {"Content-Range": "bytes 0-2/6"} | ({"Origin": origin} if origin else {})
    answer = await mux.put(url, content=b"abc", headers=headers)
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert ("Range" in answer.headers.get("access-control-expose-headers", "")) == bool(allowed)


async def test_a_page_can_read_why_a_file_was_refused(
    mux: httpx.AsyncClient, emulator: MuxEmulator
) -> None:
    _, url = await new_url(mux)
    emulator.add_fault("server_error", operation="send_bytes", times=1)
    for url_then, status in ((url, 500), (f"{url}x", 403)):
        answer = await mux.put(url_then, content=b"a film", headers={"Origin": APP})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == APP


async def test_a_wrong_method_at_the_url_is_told_the_right_ones_without_a_token(
    mux: httpx.AsyncClient, emulator: MuxEmulator
) -> None:
    _, url = await new_url(mux)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=emulator.app)) as browser:
        answer = await browser.delete(url, headers={"Origin": APP})
    assert (answer.status_code, answer.headers["allow"]) == (405, "PUT, OPTIONS")
    assert answer.headers["access-control-allow-origin"] == APP


# A real browser


async def page_of_the_app(_: Request) -> Response:
    return HTMLResponse("<title>App</title>")


async def upchunk(_: Request) -> Response:
    return FileResponse(Path(UPCHUNK), media_type="text/javascript")


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The origin of an app on a port of this machine."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", ws="none"))
    running = asyncio.create_task(server.serve())

    async def started() -> None:
        assert server.started

    await eventually(started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def a_page() -> AsyncIterator[Page]:
    """A page of an app with an origin of its own."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed")
    routes = [Route("/", page_of_the_app), Route("/upchunk.mjs", upchunk)]
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(served(Starlette(routes=routes)))
        play = await stack.enter_async_context(async_playwright())
        browser = await play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        stack.push_async_callback(browser.close)
        page = await browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        await page.goto(origin)
        yield page


async def upload_from(page: Page, origin: str, mux_url: str, script: str) -> Any:
    async with httpx.AsyncClient(
        base_url=mux_url, auth=("emulator-token-id", "emulator-token-secret")
    ) as mux:
        _, url = await new_url(mux, cors_origin=origin)
    return await page.evaluate(script, url)


async def test_a_page_of_the_uploads_origin_sends_a_file_in_chunks(emulator: MuxEmulator) -> None:
    async with served(emulator.app) as mux_url, a_page() as page:
        seen = await upload_from(page, page.url.rstrip("/"), mux_url, IN_CHUNKS)
    assert seen == [[308, "bytes=0-262143"], [308, "bytes=0-524287"], [200, None]]
    assert len(emulator.truths()) == 1


async def test_a_page_of_another_origin_cannot_send_a_file(emulator: MuxEmulator) -> None:
    async with served(emulator.app) as mux_url, a_page() as page:
        with pytest.raises(Exception, match="Failed to fetch"):
            await upload_from(page, "https://other.example", mux_url, IN_CHUNKS)
    assert emulator.truths() == {}


async def test_upchunk_sends_a_file_in_chunks_and_recovers_from_failures(
    emulator: MuxEmulator,
) -> None:
    if not UPCHUNK:
        pytest.skip("set RINDLE_UPCHUNK to upchunk.mjs of the npm package @mux/upchunk")
    emulator.add_fault("bad_gateway", operation="send_bytes", times=1)
    async with served(emulator.app) as mux_url, a_page() as page:
        assert await upload_from(page, page.url.rstrip("/"), mux_url, BY_UPCHUNK) == "success"
    assert emulator.calls["send_bytes"] == 4
    assert len(emulator.truths()) == 1
