"""The views of the app."""

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from rindle_sync.integrations.django import rindle
from tests.integrations.django.project.lessons.models import Lesson


@csrf_exempt
@login_not_required
@transaction.atomic
def begin(request: HttpRequest, title: str) -> HttpResponse:
    """Track a video with its lesson; one without an asset is refused, and nothing is kept."""
    row = rindle.track(reference=title, provider_asset_id=request.POST.get("asset"))
    Lesson.objects.create(title=title, video=row)
    if "fails" in request.POST:
        transaction.set_rollback(True)
    return HttpResponse(row.id)
