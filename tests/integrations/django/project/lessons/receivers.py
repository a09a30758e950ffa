"""What happens when a video changes."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from django.dispatch import receiver

from rindle_sync.integrations.django.signals import video_changed, video_errored, video_ready
from tests.integrations.django.project.lessons.models import Notice


def _note(signal: str, reference: str, change: Any, asset: Any) -> None:
    state = asset and asset.state
    Notice.objects.create(signal=signal, reference=reference, version=change.version, state=state)


@receiver(video_changed)
def changed(reference: str, change: Any, asset: Any, **_: Any) -> None:
    """Note the change, and then do what a test has ordered: raise, or wait to be killed."""
    _note("changed", reference, change, asset)
    folder = Path(os.environ.get("PROJECT_ORDERS", "nowhere"))
    if (folder / "raise").exists():
        raise RuntimeError("a receiver of the app has failed")
    if (folder / "exit").exists():
        sys.exit("a library of the app has ended the process")
    if (folder / "wait").exists():
        (folder / "waiting").touch()
        while (folder / "wait").exists():
            time.sleep(0.05)


@receiver(video_ready)
def ready(reference: str, change: Any, asset: Any, **_: Any) -> None:
    """Note that it is ready."""
    _note("ready", reference, change, asset)


@receiver(video_errored)
def errored(reference: str, change: Any, asset: Any, **_: Any) -> None:
    """Note that it has failed."""
    _note("errored", reference, change, asset)
