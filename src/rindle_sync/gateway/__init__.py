"""The only way to the provider: fetch within rate limit, circuit breaker and identity check."""

from rindle_sync.gateway.circuit_breaker import (
    FIRST_GAP,
    LONGEST_GAP,
    PROBE,
    RUN,
    CircuitBreaker,
    Reason,
)
from rindle_sync.gateway.fetch import RATE_LIMITED_CREATES, Attempts, Fetched, ProviderGateway
from rindle_sync.gateway.identity import IdentityCheck
from rindle_sync.gateway.provider_call import CallOutcome, Operation
from rindle_sync.gateway.rate_limiter import (
    CALLER_WAIT,
    JITTER,
    KEPT_FREE,
    LONGEST_WAITS,
    RateLimiter,
    rate_limiters,
)
