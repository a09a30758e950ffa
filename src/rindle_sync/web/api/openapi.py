"""The description of the API, as OpenAPI 3.1 has it.

https://spec.openapis.org/oas/v3.1.0
"""

from importlib.metadata import version
from re import fullmatch, sub
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from rindle_sync.web.api.problems import FieldError, Problem

PATH: Final = "/openapi.json"

_REFERENCE: Final = "#/components/schemas/{model}"
_ABOUT: Final = (
    "Keeps your own database in sync with your video provider. Every request carries a token, "
    "`Authorization: Bearer <token>`; errors are problem documents (RFC 9457) as "
    "`application/problem+json`. See docs/http-api.md."
)
_ONCE: Final = ("trackAsset", "replaceAsset", "createUpload", "createAssetFromUrl")
"""The operations that take an idempotency key."""

_KEY: Final = {
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
    operation = _document(app)["paths"][path][method.lower()]
    found = operation.get("parameters", ())
    return frozenset(known["name"] for known in found if known["in"] == "query")


def methods(app: FastAPI, path: str) -> set[str]:
    """The methods that a path takes."""
    paths = _document(app)["paths"]
    operations = paths.get(path, {})
    if not operations:
        for template in paths:
            if fullmatch(sub(r"{\w+}", "[^/]+", template), path):
                operations = paths[template]
    return {method.upper() for method in operations}


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title="rindle-sync",
        version=version("rindle-sync"),
        openapi_version="3.1.0",
        summary="Video assets in your own database, in sync with the provider",
        description=_ABOUT,
        routes=app.routes,
    )
    schemas = made["components"]["schemas"]
    for model in (FieldError, Problem):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    made["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of the API."}
    }
    made["security"] = [{"token": []}]
    for operations in made["paths"].values():
        for operation in operations.values():
            _complete(operation)
    return made


def _complete(operation: dict[str, Any]) -> None:
    if operation["operationId"] in _ONCE:
        operation.setdefault("parameters", []).append(_KEY)
        for status in ("200", "201"):
            if status in operation["responses"]:
                operation["responses"][status]["headers"] = {"Idempotency-Replayed": _REPLAYED}
    for status in ("429", "503", "504"):
        if status in operation["responses"]:
            operation["responses"][status]["headers"] = {"Retry-After": _RETRY_AFTER}
