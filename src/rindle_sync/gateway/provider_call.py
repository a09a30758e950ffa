"""The words for a call to the provider: what it asks for, and how it ended."""

from enum import StrEnum


class Operation(StrEnum):
    """The operations of the provider API."""

    ASSET = "asset"
    LIST = "list"
    UPLOAD = "upload"
    WHOAMI = "whoami"
    CREATE_UPLOAD = "create_upload"
    CANCEL_UPLOAD = "cancel_upload"
    CREATE_ASSET = "create_asset"
    DELETE_ASSET = "delete_asset"
    LIST_ENDPOINTS = "list_endpoints"
    CREATE_ENDPOINT = "create_endpoint"
    DELETE_ENDPOINT = "delete_endpoint"


class CallOutcome(StrEnum):
    """How a call ended."""

    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    THROTTLED = "throttled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    """5xx, timeout, no connection, or an unreadable body."""
