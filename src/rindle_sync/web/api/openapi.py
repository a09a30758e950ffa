"""The description of the API, as OpenAPI 3.1 has it.

https://spec.openapis.org/oas/v3.1.0
"""

import re
from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from rindle_sync.web.api.problems import FieldError, Problem

PATH: Final = "/openapi.json"

VERSION: Final = "1.0.0"
"""Of the API, not of rindle-sync: what it adds to, and never breaks, within `/api/v1`."""

_REFERENCE: Final = "#/components/schemas/{model}"
_ABOUT: Final = (
    "Keeps your own database in sync with your video provider. Every request carries a token, "
    "`Authorization: Bearer <token>`; errors are problem documents (RFC 9457) as "
    "`application/problem+json`. See docs/http-api.md."
)
_ONCE: Final = ("trackAsset", "replaceAsset", "createUpload", "createAssetFromUrl")
"""The operations that take an idempotency key."""

_REPEATED: Final = ("429", "503", "504")
_SHARED: Final = ("environment", "Idempotency-Key", "row_id", "webhook_event_id")
_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "A new text for each request, and the same where it is repeated: then it is "
    "done once, and the first answer is given again, for 24 hours.",
}
_REPLAYED: Final = {
    "description": "`true` where the answer is that of an earlier request.",
    "schema": {"type": "string"},
}
_RETRY_AFTER: Final = {
    "description": "Seconds after which to repeat the request.",
    "schema": {"type": "integer"},
}


def document(app: FastAPI, root_path: str = "") -> dict[str, Any]:
    """The description of an API that is served at `root_path`."""
    servers = [{"url": root_path or "/"}]
    return {**_document(app), "servers": servers}


def query_names(app: FastAPI, path: str, method: str) -> frozenset[str]:
    """The parameters that the query of an operation may have."""
    made = _document(app)
    shared, names = made["components"]["parameters"], set[str]()
    for known in made["paths"][path][method.lower()]["parameters"]:
        parameter = shared[known["$ref"].rpartition("/")[2]] if "$ref" in known else known
        if parameter["in"] == "query":
            names.add(parameter["name"])
    return frozenset(names)


def methods_of(app: FastAPI, path: str) -> set[str]:
    """The methods that a path takes."""
    paths = _document(app)["paths"]
    operations = paths.get(path, {})
    if not operations:
        for template in paths:
            if _pattern(template).fullmatch(path):
                operations = paths[template]
    return {method.upper() for method in operations}


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """What the paths of an operation look like."""
    return re.compile(re.sub(r"{\w+}", "[^/]+", template))


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title="rindle-sync",
        version=VERSION,
        openapi_version="3.1.0",
        summary="Video assets in your own database, in sync with the provider",
        description=_ABOUT,
        routes=app.routes,
    )
    components = made["components"]
    components |= {"parameters": {}, "responses": {}}
    for model in (FieldError, Problem):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schema.pop("$defs", None)
        components["schemas"][model.__name__] = schema
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of the API."}
    }
    made["security"] = [{"token": []}]
    for operations in made["paths"].values():
        for operation in operations.values():
            _complete(operation, components)
    return made


def _complete(operation: dict[str, Any], components: dict[str, Any]) -> None:
    """Add the key of a create, and have what all operations share stand once."""
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        parameter["schema"].pop("description", None)
    parameters[:] = [_shared("parameters", known, components) for known in parameters]
    is_once = operation["operationId"] in _ONCE
    if is_once:
        parameters.append(_shared("parameters", _KEY, components))
    for status, answered in operation["responses"].items():
        if status < "300":
            answered["description"] = "Done."
            if is_once:
                answered["headers"] = {"Idempotency-Replayed": _REPLAYED}
            continue
        if status in _REPEATED:
            answered["headers"] = {"Retry-After": _RETRY_AFTER}
        components["responses"][f"Error{status}"] = answered
        operation["responses"][status] = {"$ref": f"#/components/responses/Error{status}"}


def _shared(kind: str, parameter: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    if parameter["name"] not in _SHARED:
        return parameter
    components[kind][parameter["name"]] = parameter
    return {"$ref": f"#/components/{kind}/{parameter['name']}"}
