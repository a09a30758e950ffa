"""What every call to the far end passes on its way: counting, token, limits, faults."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rindle_sync.providers.mux_emulator.answers import Answer, invalid_parameters, too_many_requests, unauthorized
from rindle_sync.providers.mux_emulator.far_end import FarEnd
from rindle_sync.providers.mux_emulator.faults import DELAYS, LATE, REFUSALS, FaultKind
from rindle_sync.providers.mux_emulator.rest import OPERATIONS, Act, Call, Operation, unknown
from rindle_sync.providers.mux_emulator.spoil import refusal, spoil

_ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def mux_routes(far: FarEnd) -> list[Route]:
    """Every path of Mux that is emulated."""
    return [
        Route(path, _endpoint(far, operation, act), methods=[method]) for method, path, operation, act in OPERATIONS
    ]


def other_route(far: FarEnd) -> Route:
    """All paths that nobody else answers."""
    return Route("/{rest:path}", _endpoint(far, Operation.UNKNOWN, unknown), methods=list(_ALL_METHODS))


def _endpoint(far: FarEnd, operation: Operation, act: Act) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        far.calls[operation] += 1
        answer = await _admitted(far, request, operation, act)
        far.statuses[answer.status] += 1
        headers = {"x-request-id": far.ids.request(), **answer.headers}
        return Response(answer.raw(), answer.status, headers, answer.content_type if answer.body is not None else None)

    return endpoint


async def _admitted(far: FarEnd, request: Request, operation: Operation, act: Act) -> Answer:
    if operation is Operation.SEND_BYTES:
        return await _answered(far, request, operation, act)
    if not _is_authorized(far, request):
        return unauthorized()
    if far.limits is None:
        return await _answered(far, request, operation, act)
    passed, headers = far.limits.take(request.method, request.url.path, far.now())
    if not passed:
        return too_many_requests(headers)
    answer = await _answered(far, request, operation, act)
    return replace(answer, headers={**headers, **answer.headers})


def _is_authorized(far: FarEnd, request: Request) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = b64encode(f"{far.token_id}:{far.token_secret}".encode()).decode()
    return scheme.lower() == "basic" and given.strip() == expected


async def _answered(far: FarEnd, request: Request, operation: Operation, act: Act) -> Answer:
    named = request.path_params.get("id")
    ids = {named} if named else set()
    body = await _body(request, operation)
    for rule in far.faults.firing(DELAYS, operation, ids):
        await far.sleep(rule.fault.wait)
    if refusing := next(far.faults.firing(REFUSALS, operation, ids), None):
        if refusing.fault.kind == FaultKind.SILENCE:
            await far.sleep(refusing.fault.wait)
        return refusal(refusing.fault)
    answer = spoil(_processed(_call(far, request, body), act), far.faults, operation)
    for rule in far.faults.firing(LATE, operation, ids):
        await far.sleep(rule.fault.wait)
    return answer


def _processed(call: Call, act: Act) -> Answer:
    try:
        return act(call)
    except ValueError as refused:
        return invalid_parameters(str(refused))


def _call(far: FarEnd, request: Request, body: bytes) -> Call:
    return Call(
        world=far.world,
        account=far.account,
        life=far.life,
        now=far.now(),
        id=request.path_params.get("id", ""),
        query=request.query_params,
        headers=request.headers,
        body=body,
        base_url=str(request.base_url).rstrip("/"),
    )


async def _body(request: Request, operation: Operation) -> bytes:
    if operation is not Operation.SEND_BYTES:
        return await request.body()
    async for _ in request.stream():  # a file may be large and nobody looks at it
        pass
    return b""
