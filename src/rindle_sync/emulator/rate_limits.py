"""Mux's token buckets: one for POST requests under /video/, one for every other call."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Priority(StrEnum):
    """The priority of an access token, which decides the size of its buckets."""

    HIGH = "high"
    LOW = "low"


_ROUNDING: Final = 1e-6
"""By how much floating point can understate the difference of two Unix times."""


@dataclass(slots=True)
class Bucket:
    """A token bucket that is full at first; `now` is in seconds."""

    capacity: int
    per_second: float
    tokens: float = 0.0
    at: float = -math.inf  # so long ago that it is full by now

    def take(self, now: float) -> bool:
        """Take a token; whether there was one."""
        gained = max(0.0, now - self.at) * self.per_second
        self.tokens = min(self.capacity, self.tokens + gained)
        self.at = max(self.at, now)
        if self.tokens < 1.0 - _ROUNDING:
            return False
        self.tokens = max(0.0, self.tokens - 1.0)
        return True


# Sizes: https://www.mux.com/docs/core/make-api-requests#api-rate-limits
_SIZES: Final = {Priority.HIGH: ((100, 5.0), (20, 1.0)), Priority.LOW: ((20, 1.0), (4, 1.0))}


class RateLimits:
    """Both buckets of one token; `retry_after` adds a header that Mux does not document."""

    def __init__(self, priority: Priority, *, retry_after: bool = False) -> None:
        reads, posts = _SIZES[priority]
        self.priority = priority
        self.retry_after = retry_after
        self._reads = Bucket(*reads)
        self._posts = Bucket(*posts)

    def take(self, method: str, path: str, now: float) -> tuple[bool, dict[str, str]]:
        """Whether the call is within the limit, and the rate limit headers of its response."""
        is_post = method == "POST" and path.startswith("/video/")
        bucket = self._posts if is_post else self._reads
        is_within = bucket.take(now)
        headers = {
            "X-RateLimit-Limit": str(bucket.capacity),
            "X-RateLimit-Remaining": str(int(bucket.tokens)),
        }
        if not is_within and self.retry_after:
            headers["Retry-After"] = "1"  # every bucket gains a token within a second
        return is_within, headers
