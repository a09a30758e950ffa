"""The emulator's own paths under /_emulator/, with which tests in any language set it up and read it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rindle_sync.providers.mux_emulator.checks import (
    build,
    check_flag,
    check_number,
    check_text,
    check_whole,
    check_word,
    check_words,
)
from rindle_sync.providers.mux_emulator.far_end import FarEnd
from rindle_sync.providers.mux_emulator.faults import Fault
from rindle_sync.providers.mux_emulator.limits import Priority
from rindle_sync.providers.mux_emulator.lives import Life, Policy
from rindle_sync.providers.mux_emulator.webhooks import Endpoint, Webhook

_ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MOST_ASSETS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetsOrder:
    """The body of POST /_emulator/assets."""

    n: int = 1
    life: dict[str, Any] | None = None
    created_at: float | None = None
    every: float = 0.0
    passthrough: str | None = None
    policies: list[str] = field(default_factory=lambda: ["public"])

    def __post_init__(self) -> None:
        check_whole("n", self.n, low=1, high=_MOST_ASSETS)
        check_number("every", self.every)
        if self.created_at is not None:
            check_number("created_at", self.created_at)
        if self.passthrough is not None:
            check_text("passthrough", self.passthrough, longest=255)
        check_words("policies", self.policies, Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsOrder:
    """The body of POST /_emulator/rate-limits."""

    priority: str | None
    retry_after: bool = False

    def __post_init__(self) -> None:
        check_flag("retry_after", self.retry_after)
        if self.priority is not None:
            check_word("priority", self.priority, Priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetOrder:
    """The body of POST /_emulator/reset."""

    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None:
            check_whole("seed", self.seed, low=0)


Act = Callable[[FarEnd, Any, Request], Response]


def about(_far: FarEnd, _body: Any, _request: Request) -> Response:
    """What this is, and every path."""
    paths = {f"{method} {path}": (act.__doc__ or "").strip() for method, path, act in CONTROLS}
    return JSONResponse({"about": "An emulator of the Mux Video API; nothing here is real.", "paths": paths})


def show_calls(far: FarEnd, _body: Any, _request: Request) -> Response:
    """Calls by operation, answers by status, and how many were throttled."""
    statuses = {str(status): count for status, count in sorted(far.statuses.items())}
    told = {"total": far.calls.total(), "operations": dict(far.calls), "statuses": statuses}
    return JSONResponse(told | {"throttled": far.statuses[429]})


def forget_calls(far: FarEnd, _body: Any, _request: Request) -> Response:
    """Count from nothing again."""
    far.reset_calls()
    return Response(status_code=204)


def show_faults(far: FarEnd, _body: Any, _request: Request) -> Response:
    """Every fault that is set, and how often it fired."""
    return JSONResponse({"faults": [asdict(rule.fault) | {"fired": rule.fired} for rule in far.faults]})


def set_fault(far: FarEnd, body: Any, _request: Request) -> Response:
    """Set a fault: kind, operation, object_id, times, probability, seconds, retry_after."""
    rule = far.faults.add(build(Fault, body))
    return JSONResponse(asdict(rule.fault) | {"fired": rule.fired}, status_code=201)


def clear_faults(far: FarEnd, _body: Any, _request: Request) -> Response:
    """Set no faults."""
    far.clear_faults()
    return Response(status_code=204)


def make_assets(far: FarEnd, body: Any, _request: Request) -> Response:
    """Make assets: n, life, created_at, every, passthrough, policies."""
    order = build(AssetsOrder, body)
    ids = far.create_assets(
        order.n,
        life=None if order.life is None else build(Life, order.life, "life"),
        created_at=order.created_at,
        every=order.every,
        passthrough=order.passthrough,
        policies=order.policies,
    )
    return JSONResponse({"ids": ids}, status_code=201)


def set_life(far: FarEnd, body: Any, _request: Request) -> Response:
    """Set how assets made from now on live: ends, after, deleted_after, error_type, error_message."""
    far.life = build(Life, body)
    return JSONResponse(asdict(far.life))


def show_truth(far: FarEnd, _body: Any, request: Request) -> Response:
    """What is really so about every asset, or about the one named by ?id=."""
    wanted = request.query_params.get("id")
    if wanted is None:
        return JSONResponse({"assets": [asdict(truth) for truth in far.truths().values()]})
    try:
        return JSONResponse({"assets": [asdict(far.truth(wanted))]})
    except KeyError:
        return _sentence(404, "id: there never was such an asset; leave it out to see all")


def show_webhooks(far: FarEnd, _body: Any, _request: Request) -> Response:
    """Every webhook endpoint without its secret, and what became of its deliveries."""
    return JSONResponse({"webhooks": [_webhook_body(webhook) for webhook in far.webhooks]})


def add_webhook(far: FarEnd, body: Any, _request: Request) -> Response:
    """Tell an endpoint of events from now on: url, secret, drop, double, shuffle, delay, forge, timeout."""
    webhook = far.webhooks.add(build(Endpoint, body), far.world, far.seed, far.now())
    return JSONResponse(_webhook_body(webhook), status_code=201)


def clear_webhooks(far: FarEnd, _body: Any, _request: Request) -> Response:
    """Tell no endpoint anything more."""
    far.clear_webhooks()
    return Response(status_code=204)


def _webhook_body(webhook: Webhook) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(webhook.endpoint).items() if key != "secret"}
    figures = {one.name: getattr(webhook.deliveries, one.name) for one in fields(webhook.deliveries)}
    return {"id": webhook.id} | settings | {"deliveries": figures, "pending": webhook.pending}


def set_limits(far: FarEnd, body: Any, _request: Request) -> Response:
    """Set full buckets: priority high, low or null, and retry_after."""
    order = build(LimitsOrder, body)
    far.set_rate_limits(None if order.priority is None else Priority(order.priority), retry_after=order.retry_after)
    return JSONResponse(asdict(order))


def reset(far: FarEnd, body: Any, _request: Request) -> Response:
    """Back to an empty world, with a new seed if one is given."""
    far.reset(build(ResetOrder, body).seed)
    return Response(status_code=204)


CONTROLS: Final[tuple[tuple[str, str, Act], ...]] = (
    ("GET", "/_emulator/", about),
    ("GET", "/_emulator/calls", show_calls),
    ("DELETE", "/_emulator/calls", forget_calls),
    ("GET", "/_emulator/faults", show_faults),
    ("POST", "/_emulator/faults", set_fault),
    ("DELETE", "/_emulator/faults", clear_faults),
    ("POST", "/_emulator/assets", make_assets),
    ("POST", "/_emulator/life", set_life),
    ("GET", "/_emulator/truth", show_truth),
    ("POST", "/_emulator/rate-limits", set_limits),
    ("GET", "/_emulator/webhooks", show_webhooks),
    ("POST", "/_emulator/webhooks", add_webhook),
    ("DELETE", "/_emulator/webhooks", clear_webhooks),
    ("POST", "/_emulator/reset", reset),
)


def control_routes(far: FarEnd) -> list[Route]:
    """Every path under /_emulator/; none needs a token or counts as a call."""
    known = [Route(path, _endpoint(far, act), methods=[method]) for method, path, act in CONTROLS]
    others = ("/_emulator", "/_emulator/{rest:path}")
    return [*known, *(Route(path, _no_such_path, methods=list(_ALL_METHODS)) for path in others)]


def _endpoint(far: FarEnd, act: Act) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            return act(far, _read(await request.body()), request)
        except ValueError as refused:
            return _sentence(400, str(refused))

    return endpoint


def _read(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        raise ValueError('the body: must be JSON, such as {"n": 3}') from None


async def _no_such_path(_request: Request) -> Response:
    return _sentence(404, "there is no such path and method; GET /_emulator/ lists them all")


def _sentence(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status)
