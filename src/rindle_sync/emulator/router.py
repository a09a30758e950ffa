"""Routes calls to Mux's operations, through token check, rate limits, faults and counters."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.call import Action, Call, Operation
from rindle_sync.emulator.corruption import corrupt, refusal
from rindle_sync.emulator.faults import DELAYS, LAGS, LATE, REFUSALS, FaultKind
from rindle_sync.emulator.operations import OPERATIONS, not_served
from rindle_sync.emulator.responses import UNAUTHORIZED, ApiResponse, problem, too_many_requests
from rindle_sync.emulator.uploads import cors_headers

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

# The URL of an upload carries its own signature and is outside the API's token and rate limits.
_UPLOAD_URL: Final = "/_upload/"


def all_routes(account: MuxAccount, controls: Sequence[Route]) -> list[Route]:
    """Every emulated path of Mux, the paths `controls`, and a fallback for every other path."""
    by_path: dict[str, dict[str, tuple[Operation, Action]]] = {}
    for method, path, operation, action in OPERATIONS:
        by_path.setdefault(path, {})[method] = operation, action
    mux = [Route(path, _Path(account, actions)) for path, actions in by_path.items()]
    # routes are matched in this order, and most calls are Mux's
    return [*mux, *controls, Route("/{rest:path}", _Path(account, None))]


@dataclass(frozen=True, slots=True)
class _Path:
    """All methods of one path, as an ASGI app; without `actions` a path that is not served."""

    account: MuxAccount
    actions: Mapping[str, tuple[Operation, Action]] | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = _Endpoint(self.account, *self._choose(scope["method"]))
        response = await endpoint.respond(Request(scope, receive))
        await response(scope, receive, send)

    def _choose(self, method: str) -> tuple[Operation, Action]:
        if self.actions is None:
            return Operation.UNKNOWN, not_served
        found = self.actions.get("GET" if method == "HEAD" else method)
        return (Operation.UNKNOWN, self._wrong_method) if found is None else found

    def _wrong_method(self, call: Call) -> ApiResponse:
        methods = [*(self.actions or ())]
        allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
        message = f"{call.method} is not possible at {call.path}; use {allowed}."
        response = problem(405, "method_not_allowed", message)
        return replace(response, headers={"Allow": allowed})


@dataclass(frozen=True, slots=True)
class _Endpoint:
    account: MuxAccount
    operation: Operation
    action: Action

    async def respond(self, request: Request) -> Response:
        self.account.calls[self.operation] += 1
        response = await self._admit(request)
        self.account.statuses[response.status] += 1
        headers = {"x-request-id": self.account.ids.request(), **response.headers}
        if request.url.path.startswith(_UPLOAD_URL):
            upload_id, origin = request.path_params.get("id", ""), request.headers.get("origin")
            headers |= cors_headers(self.account.environment, upload_id, origin)
        content_type = None if response.body is None else response.content_type
        return Response(response.raw(), response.status, headers, content_type)

    async def _admit(self, request: Request) -> ApiResponse:
        account = self.account
        if request.url.path.startswith(_UPLOAD_URL):
            return await self._process(request)
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        expected = b64encode(f"{account.token_id}:{account.token_secret}".encode()).decode()
        if scheme.lower() != "basic" or credentials.strip() != expected:
            return UNAUTHORIZED
        if account.limits is None:
            return await self._process(request)
        is_within, headers = account.limits.take(request.method, request.url.path, account.now())
        if not is_within:
            return too_many_requests(headers)
        response = await self._process(request)
        return replace(response, headers={**headers, **response.headers})

    async def _process(self, request: Request) -> ApiResponse:
        account, operation = self.account, self.operation
        ids = {name for key, name in request.path_params.items() if key != "rest"}
        body, size = await self._receive(request)
        for rule in account.faults.firing(DELAYS, operation, ids):
            await account.sleep(rule.fault.wait)
        refusing = next(account.faults.firing(REFUSALS, operation, ids), None)
        if refusing is not None:
            if refusing.fault.kind == FaultKind.SILENCE:
                await account.sleep(refusing.fault.wait)
            return refusal(refusing.fault)
        # Built only now: during a delay time passes, and other calls change the account.
        call = self._call(request, body, size)
        for rule in account.faults.firing(LAGS, operation, ids):
            call = replace(call, now=call.now - rule.fault.wait)
        try:
            response = self.action(call)
        except ValueError as error:
            response = problem(400, "invalid_parameters", str(error))
        response = corrupt(response, account.faults, operation)
        for rule in account.faults.firing(LATE, operation, ids):
            await account.sleep(rule.fault.wait)
        return response

    async def _receive(self, request: Request) -> tuple[bytes, int]:
        if self.operation is not Operation.SEND_BYTES:
            body = await request.body()
            return body, len(body)
        size = 0
        async for chunk in request.stream():  # a video may be large, and is not needed
            size += len(chunk)
        return b"", size

    def _call(self, request: Request, body: bytes, size: int) -> Call:
        account = self.account
        raw_path = request.scope.get("raw_path") or request.url.path.encode()
        return Call(
            environment=account.environment,
            webhooks=account.webhooks,
            whoami=account.whoami,
            lives=account.lives,
            now=account.now(),
            method=request.method,
            path=raw_path.partition(b"?")[0].decode("latin-1"),
            id=request.path_params.get("id", ""),
            part_id=request.path_params.get("part_id", ""),
            query=request.query_params,
            headers=request.headers,
            body=body,
            size=size,
            base_url=str(request.base_url).rstrip("/"),
        )
