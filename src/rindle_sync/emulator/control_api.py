"""The emulator's own paths under /_emulator/: set it up and inspect it from any language."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.faults import Fault
from rindle_sync.emulator.lifecycle import Life, Policy, RenditionLife
from rindle_sync.emulator.rate_limits import Priority
from rindle_sync.emulator.router import ALL_METHODS
from rindle_sync.emulator.validation import (
    build,
    check_flag,
    check_number,
    check_object,
    check_text,
    check_whole,
    check_word,
    check_words,
    parse_json,
)
from rindle_sync.emulator.webhooks import Endpoint, Webhook

_MAX_ASSETS: Final = 1_000_000

_LIVES: Final[dict[str, type[Life]]] = {
    "asset": Life,
    "track": Life,
    "static_rendition": RenditionLife,
    "master": Life,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetsRequest:
    """The body of POST /_emulator/assets."""

    n: int = 1
    life: dict[str, Any] | None = None
    created_at: float | None = None
    every: float = 0.0
    passthrough: str | None = None
    policies: list[str] = field(default_factory=lambda: ["public"])
    live_stream_id: str | None = None
    live_seconds: float | None = None

    def __post_init__(self) -> None:
        check_whole("n", self.n, low=1, high=_MAX_ASSETS)
        if self.created_at is not None:
            check_number("created_at", self.created_at)
        check_words("policies", self.policies, Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRequest:
    """The body of POST /_emulator/end."""

    id: str
    ends: str = "ready"
    error_message: str | None = None

    def __post_init__(self) -> None:
        check_text("id", self.id, longest=255)
        check_word("ends", self.ends, ("ready", "errored", "deleted"))
        if self.error_message is not None:
            check_text("error_message", self.error_message, longest=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitsRequest:
    """The body of POST /_emulator/rate-limits."""

    priority: str | None
    retry_after: bool = False

    def __post_init__(self) -> None:
        check_flag("retry_after", self.retry_after)
        if self.priority is not None:
            check_word("priority", self.priority, Priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRequest:
    """The body of POST /_emulator/reset."""

    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None:
            check_whole("seed", self.seed, low=0)


Command = Callable[..., Any]
"""Takes the account and, unless it serves a DELETE, the JSON body or the query of a GET.

Returns a JSON body, or None for none; a ValueError becomes the status 400, a LookupError 404.
"""


def about(_account: MuxAccount, _query: Any) -> Any:
    """Show what this server is, and every path."""
    paths = {f"{method} {path}": command.__doc__ for method, path, _, command in CONTROLS}
    return {"about": "An emulator of the Mux Video API; nothing here is real.", "paths": paths}


def show_calls(account: MuxAccount, _query: Any) -> Any:
    """Show the number of calls by operation, responses by status, and rate limited calls."""
    return {
        "total": account.calls.total(),
        "operations": dict(account.calls),
        "statuses": {str(status): count for status, count in sorted(account.statuses.items())},
        "throttled": account.statuses[429],
    }


def show_faults(account: MuxAccount, _query: Any) -> Any:
    """Show every active fault, and how often it fired."""
    return {"faults": [asdict(rule.fault) | {"fired": rule.fired} for rule in account.faults.rules]}


def set_fault(account: MuxAccount, body: Any) -> Any:
    """Set a fault: kind, operation, object_id, times, probability, seconds, retry_after."""
    rule = account.faults.add(build(Fault, body))
    return asdict(rule.fault) | {"fired": rule.fired}


def create_assets(account: MuxAccount, body: Any) -> Any:
    """Create assets: n, life, created_at, passthrough, policies, live_stream_id, ..."""
    wanted = build(AssetsRequest, body)
    ids = account.create_assets(
        wanted.n,
        life=None if wanted.life is None else build(Life, wanted.life, "life"),
        created_at=wanted.created_at,
        every=wanted.every,
        passthrough=wanted.passthrough,
        policies=wanted.policies,
        live_stream_id=wanted.live_stream_id,
        live_seconds=wanted.live_seconds,
    )
    return {"ids": ids}


def end_asset(account: MuxAccount, body: Any) -> Any:
    """End an asset now, whatever its life: id, ends (ready, errored, deleted), error_message."""
    wanted = build(EndRequest, body)
    try:
        match wanted.ends:
            case "ready":
                account.finish_asset(wanted.id)
            case "errored":
                account.fail_asset(wanted.id, error_message=wanted.error_message)
            case _:
                account.delete_asset(wanted.id)
    except KeyError:
        raise LookupError("id: there is no such asset; GET /_emulator/truth shows all") from None
    return asdict(account.truth(wanted.id))


def set_life(account: MuxAccount, body: Any) -> Any:
    """Set a life: ends, after, deleted_after, error_type, error_message; of (asset, track, ...)."""
    values = dict(check_object("the body", body))
    subject = check_word("of", values.pop("of", "asset"), _LIVES)
    life = build(_LIVES[subject], values)
    account.lives = replace(account.lives, **{subject: life})
    return {"of": subject, **asdict(life)}


def show_truth(account: MuxAccount, query: Any) -> Any:
    """Show the true state of every asset, or of the one given by ?id=."""
    if "id" not in query:
        return {"assets": [asdict(truth) for truth in account.truths().values()]}
    try:
        return {"assets": [asdict(account.truth(query["id"]))]}
    except KeyError:
        raise LookupError("id: no such asset ever existed; leave it out to see all") from None


def show_webhooks(account: MuxAccount, _query: Any) -> Any:
    """Show every webhook endpoint without its secret, and the counts of its deliveries."""
    return {"webhooks": [_webhook_body(webhook) for webhook in account.webhooks]}


def add_webhook(account: MuxAccount, body: Any) -> Any:
    """Add an endpoint: url, secret, drop, double, shuffle, delay, forge, timeout."""
    return _webhook_body(account.webhooks.add(build(Endpoint, body), account.now()))


def _webhook_body(webhook: Webhook) -> dict[str, Any]:
    settings = asdict(webhook.endpoint)
    del settings["secret"]
    deliveries = webhook.deliveries
    # asdict cannot copy a Counter.
    counts = {count.name: getattr(deliveries, count.name) for count in fields(deliveries)}
    return {
        "id": webhook.id,
        "enabled": webhook.is_enabled,
        **settings,
        "deliveries": counts,
        "pending": webhook.pending,
    }


def set_rate_limits(account: MuxAccount, body: Any) -> Any:
    """Set rate limits with full buckets: priority (high, low or null) and retry_after."""
    wanted = build(RateLimitsRequest, body)
    priority = None if wanted.priority is None else Priority(wanted.priority)
    account.set_rate_limits(priority, retry_after=wanted.retry_after)
    return asdict(wanted)


def reset(account: MuxAccount, body: Any) -> None:
    """Reset to an empty environment, with a new seed if one is given."""
    account.reset(build(ResetRequest, body).seed)


CONTROLS: Final[tuple[tuple[str, str, int, Command], ...]] = (
    ("GET", "/_emulator/", 200, about),
    ("GET", "/_emulator/calls", 200, show_calls),
    ("DELETE", "/_emulator/calls", 204, MuxAccount.reset_calls),
    ("GET", "/_emulator/faults", 200, show_faults),
    ("POST", "/_emulator/faults", 201, set_fault),
    ("DELETE", "/_emulator/faults", 204, MuxAccount.clear_faults),
    ("POST", "/_emulator/assets", 201, create_assets),
    ("POST", "/_emulator/end", 200, end_asset),
    ("POST", "/_emulator/life", 200, set_life),
    ("GET", "/_emulator/truth", 200, show_truth),
    ("POST", "/_emulator/rate-limits", 200, set_rate_limits),
    ("GET", "/_emulator/webhooks", 200, show_webhooks),
    ("POST", "/_emulator/webhooks", 201, add_webhook),
    ("DELETE", "/_emulator/webhooks", 204, MuxAccount.clear_webhooks),
    ("POST", "/_emulator/reset", 204, reset),
)


def control_routes(account: MuxAccount) -> list[Route]:
    """Every path under /_emulator/; none needs a token or counts as a call."""

    async def no_such_path(_request: Request) -> Response:
        return _error(404, "there is no such path and method; GET /_emulator/ lists them all")

    routes = [
        Route(path, _endpoint(account, status, command), methods=[method])
        for method, path, status, command in CONTROLS
    ]
    # last: the first route that fits is taken
    routes.append(Route("/_emulator", no_such_path, methods=ALL_METHODS))
    routes.append(Route("/_emulator/{rest:path}", no_such_path, methods=ALL_METHODS))
    return routes


def _endpoint(
    account: MuxAccount, status: int, command: Command
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            values = parse_json(await request.body() or b"{}")
        except ValueError as error:
            return _error(400, str(error))
        arguments = [] if request.method == "DELETE" else [values]
        if request.method in {"GET", "HEAD"}:
            arguments = [request.query_params]
        try:
            body = command(account, *arguments)
        except ValueError as error:
            return _error(400, str(error))
        except LookupError as error:
            return _error(404, str(error))
        return Response(status_code=status) if body is None else JSONResponse(body, status)

    return endpoint


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)
