"""The webhook endpoint as a view: under WSGI and ASGI, whatever middleware the project has."""

import logging
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.blocking.wsgi import body_of
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.in_tests import refuse_test_transaction
from rindle_sync.integrations.django.non_atomic import non_atomic_requests
from rindle_sync.integrations.django.process import DjangoRindle, rindle
from rindle_sync.webhooks import LARGEST_BODY

_log: Final = logging.getLogger("rindle_sync")


# an answered event is on disk: its storing is no part of a transaction of the request
@csrf_exempt
@login_not_required
@non_atomic_requests
def webhook(request: HttpRequest, provider: str, environment: str | None = None) -> HttpResponse:
    """Receive one webhook request; the signature is what it is trusted by.

    In a `TestCase`, which never commits, it raises `ConfigurationError`.
    """
    refuse_test_transaction(conf.database_alias())
    try:
        named = _named(provider, environment)
        if named is None:
            return JsonResponse({"error": "not_found"}, status=404)
        answer = named.receive(request.headers, _body(request), method=request.method or "")
    except UnreadablePostError:
        return JsonResponse({"error": "unreadable"}, status=400)
    except ConfigurationError as error:
        _log.error("a webhook request could not be received: %s", error)
        return JsonResponse({"error": "server_misconfigured"}, status=500)
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))


def _named(provider: str, environment: str | None) -> DjangoRindle | None:
    """The service of the environment that a path names; None where there is none."""
    has_several = bool(conf.loaded().environments)
    for settings in conf.environments():
        is_named = settings.environment == environment if has_several else environment is None
        if is_named and settings.provider == provider:
            return rindle.of(settings.environment)
    return None


def _body(request: HttpRequest) -> bytes:
    """The raw body; not by `request.body`, which DATA_UPLOAD_MAX_MEMORY_SIZE limits."""
    environ = getattr(request, "environ", {})
    if environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH"):
        return body_of(environ)  # in chunks, of which Django reads nothing
    return request.read(LARGEST_BODY + 1)
