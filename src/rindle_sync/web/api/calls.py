"""What each operation gets of its request: whose it is, which environment, and how it answers."""

from collections.abc import Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from rindle_sync.domain import Actor, ProviderAsset
from rindle_sync.store.api_tokens import ApiToken
from rindle_sync.web.api.face import Rindle
from rindle_sync.web.api.idempotency import HEADER, Act, Errors
from rindle_sync.web.api.models import AssetModel
from rindle_sync.web.api.problems import HEADERS, MEDIA_TYPE, Declined, wrong

Environment = Annotated[
    str | None,
    Query(
        description="The environment, by its name in the settings. With one alone it may be left "
        "out, and with a token of one environment."
    ),
]

_READ_ONLY: Final = "the token may only read: use one that may write"
_ELSEWHERE: Final = "the token is for another environment"
_NO_ROW: Final = (
    "there is no asset with this id: to find one by its reference, GET /assets?reference=..."
)


T = TypeVar("T")


class Call:
    """One request of a token, to one environment."""

    def __init__(self, request: Request, service: Rindle, environment: str) -> None:
        self.request = request
        self.service = service
        self.environment = environment
        self.api: Any = request.app.state.api
        self.token: ApiToken = request.state.token

    def shown(self, row: ProviderAsset) -> AssetModel:
        """What of a row the token may see."""
        return AssetModel.of(row, sees_provider_ids=self.token.sees_provider_ids)

    async def row(self, row_id: str) -> ProviderAsset:
        """The row of this environment with this id. Raises `Declined`, `DatabaseUnavailable`."""
        async with self.api.reading():
            row = await self.service.get(row_id)
        return self.own(row)

    def own(self, row: ProviderAsset | None) -> ProviderAsset:
        """`row`, if there is one, and it is of this environment. Raises `Declined`."""
        store = self.service.store
        if row is None or (row.provider_name, row.environment) != (
            store.provider,
            store.environment,
        ):
            raise self.no_row()
        return row

    @staticmethod
    def no_row() -> Declined:
        """The error of a row that there is not."""
        return Declined(404, _NO_ROW, kind="no-such-asset")

    def needs_provider_ids(self, field: str) -> None:
        """Raise `Declined` unless the token may see provider ids."""
        if not self.token.sees_provider_ids:
            text = "needs a token that sees provider ids"
            raise Declined(403, f"{field}: {text}", errors=[(field, text)])

    async def once(self, body: BaseModel | None, act: Act, *, frees: Errors = ()) -> Response:
        """The answer of `act`, which is done once for each idempotency key.

        After an error of `frees`, too, the key is free again.
        """
        request = self.request
        asked = [
            request.method,
            request.scope["path"],
            self.environment,
            body and body.model_dump(mode="python"),
        ]
        key = request.headers.get(HEADER)
        response: Response = await self.api.requests.once(self.token, key, asked, act, frees=frees)
        return response

    async def finished(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`, which goes on where the client leaves. Raises `Declined`."""
        result: T = await self.api.requests.finished(work)
        return result

    async def left(self) -> None:
        """Return once the client has left."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


# a plain function would cost each request a thread
async def _call(request: Request, environment: Environment = None) -> Call:
    api, token = request.app.state.api, request.state.token
    route: Any = request.scope["route"]
    known = api.query_names(route.path, request.method)
    for name in request.query_params:
        if name not in known:
            raise wrong(name, "there is no such parameter")
    if token.environment is not None and (environment or token.environment) != token.environment:
        raise Declined(403, _ELSEWHERE, errors=[("environment", _ELSEWHERE)])
    name = environment or token.environment
    if name is None:
        if len(api.services) > 1:
            names = ", ".join(api.services)
            raise wrong("environment", f"must name one of {names}")
        (name,) = api.services
    if name not in api.services:
        if token.environment:
            raise Declined(403, _ELSEWHERE)
        names = ", ".join(api.services)
        raise wrong("environment", f"there is no such environment; there are {names}")
    return Call(request, api.services[name], name)


Reading = Annotated[Call, Depends(_call)]
"""A call with any token."""


async def _writing(call: Reading) -> Call:
    if not call.token.may_write:
        raise Declined(403, _READ_ONLY, kind="read-only")
    call.service = call.service.as_actor(Actor.of_token(call.token.name))
    return call


Writing = Annotated[Call, Depends(_writing)]
"""A call with a token that may write."""


def ok(model: BaseModel, status: int = 200) -> Response:
    """An answer; fields that were not set are left out."""
    content = model.model_dump_json(exclude_unset=True)
    return Response(content, status, HEADERS, "application/json")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that an operation may answer, beside those of every operation."""
    return {status: problem(_DESCRIPTIONS[status]) for status in sorted({*_OF_ALL, *statuses})}


def problem(description: str) -> dict[str, Any]:
    """One error, for OpenAPI."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


_OF_ALL: Final = (400, 401, 403, 413, 422, 429, 500, 503)
_DESCRIPTIONS: Final = {
    400: "The request cannot be read.",
    401: "The token is missing, wrong or expired.",
    403: "The token may not do this.",
    404: "There is no such thing in this environment.",
    409: "The state of things does not allow this; `type` says what is in the way.",
    410: "The change is not in the feed any more: list the assets, and follow from the end.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "A value is not valid; `errors` names the field.",
    429: "Too many requests, here or to the provider; `Retry-After` says when to repeat it.",
    500: "A bug in rindle-sync.",
    502: "The provider gave no answer, or refused the credentials.",
    503: "The database does not answer, or there are too many requests at once.",
    504: "It took too long.",
}
