"""The WSGI app of the examples, used once before its server forks.

Its rows are tracked here, so that the parent has a loop and connections as it forks.
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

example = import_module("wsgi")
app, rindle = example.app, example.rindle
post_worker_init = example.post_worker_init
if rindle.count() == 0:
    for number in range(12):
        rindle.track(reference=f"video-{number}", provider_asset_id=f"asset-{number}")
