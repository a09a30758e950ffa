"""The pages, and what a page's script asks for."""

from collections.abc import Callable
from functools import wraps

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from films.models import Film
from rindle_sync.errors import AlreadyTracked, ProviderError
from rindle_sync.integrations.django import rindle


def told_plainly(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view; what the provider or another row refuses becomes an answer that says so."""

    @wraps(view)
    def answer(request: HttpRequest, **arguments: object) -> HttpResponseBase:
        try:
            return view(request, **arguments)
        except AlreadyTracked as error:
            return JsonResponse({"detail": str(error)}, status=409)
        except ProviderError as error:
            # what was committed stays, and ends by itself
            headers = {"Retry-After": "30"}
            return JsonResponse({"detail": str(error)}, status=503, headers=headers)

    return answer


def origin_of(request: HttpRequest) -> str:
    """The origin of the page that sends the file."""
    return f"{request.scheme}://{request.get_host()}"


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    newest = Film.objects.select_related("video")[:50]
    return render(request, "films/index.html", {"films": newest})


@require_safe
def film(request: HttpRequest, pk: int) -> HttpResponse:
    shown = get_object_or_404(Film.objects.select_related("video"), pk=pk)
    return render(request, "films/film.html", {"film": shown})


@require_POST
@told_plainly
def upload(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        # both rows or neither; the provider is called after the commit
        new = Film.objects.create(title=request.POST["title"])
        prepared = rindle.prepare_upload(reference=str(new.pk), cors_origin=origin_of(request))
        new.video_id = prepared.row_id
        new.save()
    link = rindle.start_upload(prepared)
    return JsonResponse({"page": reverse("film", args=[new.pk]), "url": link.url}, status=201)


@require_POST
@told_plainly
def upload_again(request: HttpRequest, pk: int) -> HttpResponse:
    """The same upload while it waits for its file, else a new one: for a page that was reloaded."""
    again = get_object_or_404(Film, pk=pk)
    link = rindle.begin_upload(reference=str(again.pk), cors_origin=origin_of(request), resume=True)
    return JsonResponse({"page": reverse("film", args=[again.pk]), "url": link.url})


@require_POST
@told_plainly
def add_existing(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        new = Film.objects.create(title=request.POST["title"])
        new.video = rindle.track(
            reference=str(new.pk), provider_asset_id=request.POST["provider_asset_id"]
        )
        new.save()
    return JsonResponse({"page": reverse("film", args=[new.pk])}, status=201)


@require_POST
def delete(_request: HttpRequest, pk: int) -> HttpResponse:
    with transaction.atomic():
        gone = get_object_or_404(Film, pk=pk)
        if gone.video_id:
            rindle.untrack(gone.video_id)
        gone.delete()
    return redirect("index")
