"""Routes calls to Mux's operations, through token check, rate limits, faults and counters."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.api import OPERATIONS, Action, Call, Operation, unknown
from rindle_sync.emulator.corruption import corrupt, refusal
from rindle_sync.emulator.faults import DELAYS, LATE, REFUSALS, FaultKind
from rindle_sync.emulator.responses import UNAUTHORIZED, ApiResponse, problem, too_many_requests

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def all_routes(account: MuxAccount, controls: Sequence[Route]) -> list[Route]:
    """Every emulated path of Mux, the paths `controls`, and a fallback for every other path."""
    mux = [
        Route(path, _Endpoint(account, operation, action).respond, methods=[method])
        for method, path, operation, action in OPERATIONS
    ]
    other = _Endpoint(account, Operation.UNKNOWN, unknown)
    # routes are matched in this order, and most calls are Mux's
    return [*mux, *controls, Route("/{rest:path}", other.respond, methods=ALL_METHODS)]


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
        content_type = None if response.body is None else response.content_type
        return Response(response.raw(), response.status, headers, content_type)

    async def _admit(self, request: Request) -> ApiResponse:
        account = self.account
        # The URL of an upload carries its own signature and is outside the API's rate limits.
        if self.operation is Operation.SEND_BYTES:
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
        object_id = request.path_params.get("id", "")
        ids = {object_id} if object_id else set()
        body = b""
        if operation is Operation.SEND_BYTES:
            async for _ in request.stream():  # a video may be large, and its content is not needed
                pass
        else:
            body = await request.body()
        for rule in account.faults.firing(DELAYS, operation, ids):
            await account.sleep(rule.fault.wait)
        refusing = next(account.faults.firing(REFUSALS, operation, ids), None)
        if refusing is not None:
            if refusing.fault.kind == FaultKind.SILENCE:
                await account.sleep(refusing.fault.wait)
            return refusal(refusing.fault)
        # Built only now: during a delay time passes, and other calls change the account.
        call = Call(
            environment=account.environment,
            whoami=account.whoami,
            life=account.life,
            now=account.now(),
            id=object_id,
            query=request.query_params,
            headers=request.headers,
            body=body,
            base_url=str(request.base_url).rstrip("/"),
        )
        try:
            response = self.action(call)
        except ValueError as error:
            response = problem(400, "invalid_parameters", str(error))
        response = corrupt(response, account.faults, operation)
        for rule in account.faults.firing(LATE, operation, ids):
            await account.sleep(rule.fault.wait)
        return response
