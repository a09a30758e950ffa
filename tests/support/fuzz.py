"""How properties are tested: the same examples each time, RINDLE_FUZZ_EXAMPLES times as many."""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("RINDLE_FUZZ_EXAMPLES") or 1)


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=examples * TIMES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ],
    )
