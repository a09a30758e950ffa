"""The types of a public method, also of what is imported only where it is used."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import rindle_sync
from rindle_sync import runtime, types
from rindle_sync.diagnostics import Overview
from rindle_sync.diagnostics.doctor import Diagnosis
from rindle_sync.web.api.app import Api
from rindle_sync.webhooks import App

_NAMES = {name: getattr(rindle_sync, name) for name in rindle_sync.__all__} | vars(types)

_INTERNAL = {
    "Api": Api,
    "App": App,
    "Diagnosis": Diagnosis,
    "JobRunner": runtime.JobRunner,
    "Overview": Overview,
    "Runtime": runtime.Runtime,
}


def hints_of(method: Callable[..., Any]) -> dict[str, Any]:
    """The types of its arguments, and of what it returns."""
    return get_type_hints(inspect.unwrap(method), localns=_NAMES | _INTERNAL)
