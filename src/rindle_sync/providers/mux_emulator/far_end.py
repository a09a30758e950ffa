"""A Mux environment that Python code can fill, look through and disturb; opens no socket."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Literal

import httpx

from rindle_sync.providers.mux_emulator.checks import check_number, check_whole, refuse
from rindle_sync.providers.mux_emulator.faults import Fault, Faults, Rule
from rindle_sync.providers.mux_emulator.ids import Ids
from rindle_sync.providers.mux_emulator.limits import Priority, RateLimits
from rindle_sync.providers.mux_emulator.lives import Asset, Life, Settings, Upload
from rindle_sync.providers.mux_emulator.rest import Account
from rindle_sync.providers.mux_emulator.timeline import LifeEvent
from rindle_sync.providers.mux_emulator.webhooks import ANSWER_SECONDS, Deliveries, Endpoint, Webhook, Webhooks
from rindle_sync.providers.mux_emulator.world import Truth, World

PriorityWord = Priority | Literal["high", "low"]


class FarEnd:
    """One environment with its assets, uploads, faults, limits and counts; a function of seed, clock and calls."""

    def __init__(  # noqa: PLR0913 - all that a test may choose, each by its name
        self,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
        token_id: str = "emulator-token-id",  # noqa: S107 - opens nothing but this emulator
        token_secret: str = "emulator-token-secret",  # noqa: S107 - opens nothing but this emulator
        environment_id: str = "emulator-environment",
        rate_limits: PriorityWord | None = None,
        retry_after: bool = False,
        prepare_seconds: float = 10.0,
    ) -> None:
        self.now = now
        self.sleep = sleep
        self.token_id = token_id
        self.token_secret = token_secret
        self.account = Account(environment_id=environment_id)
        self.life = Life(after=prepare_seconds)
        self._first_life = self.life
        self.limits: RateLimits | None = None
        self.set_rate_limits(rate_limits, retry_after=retry_after)
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.webhooks = Webhooks()
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        self.seed = seed
        self.ids = Ids(seed)
        self.world = World(self.ids)
        self.faults = Faults(seed)
        self.webhooks.begin(self.world, seed, self.now())

    def reset(self, seed: int | None = None) -> None:
        """Back to an empty world without faults, counts or spent tokens; a new `seed` gives new ids.

        Webhook endpoints stay; what they were to be sent is forgotten.
        """
        self._begin(self.seed if seed is None else seed)
        self.life = self._first_life
        if self.limits is not None:
            self.set_rate_limits(self.limits.priority, retry_after=self.limits.retry_after)
        self.reset_calls()

    def reset_calls(self) -> None:
        """Count from nothing again."""
        self.calls.clear()
        self.statuses.clear()

    def set_rate_limits(self, priority: PriorityWord | None, *, retry_after: bool = False) -> None:
        """Full buckets as Mux gives a token of this priority; None for no limits."""
        self.limits = None if priority is None else RateLimits(Priority(priority), retry_after=retry_after)

    def create_asset(
        self,
        *,
        life: Life | None = None,
        created_at: float | None = None,
        passthrough: str | None = None,
        policies: Sequence[str] = ("public",),
        meta: Mapping[str, str] | None = None,
        test: bool = False,
    ) -> str:
        """The id of a new asset; `created_at` is in unix seconds and not after now."""
        settings = Settings(policies=tuple(policies), passthrough=passthrough, meta=meta, test=test)
        at = self._past(self.now() if created_at is None else created_at)
        return self.world.create_asset(settings, life or self.life, at).id

    def create_assets(
        self,
        n: int,
        *,
        life: Life | Callable[[int], Life] | None = None,
        created_at: float | None = None,
        every: float = 0.0,
        passthrough: str | Callable[[int], str] | None = None,
        policies: Sequence[str] = ("public",),
    ) -> list[str]:
        """The ids of `n` new assets, oldest first, made `every` so many seconds; functions are given 0 to n - 1.

        The last one is made now, unless `created_at` says when the first one was.
        """
        gaps = check_number("every", every) * (check_whole("n", n, low=1) - 1)
        first = self.now() - gaps if created_at is None else created_at
        self._past(first + gaps)
        plain = Settings(policies=tuple(policies), passthrough=None if callable(passthrough) else passthrough)
        return [
            self.world.create_asset(
                Settings(policies=plain.policies, passthrough=passthrough(i)) if callable(passthrough) else plain,
                (life(i) if callable(life) else life) or self.life,
                first + i * every,
            ).id
            for i in range(n)
        ]

    def delete_asset(self, asset_id: str) -> None:
        """Delete an asset now; KeyError if there is none."""
        self.world.delete_asset(self._asset(asset_id), self.now())

    def announce_update(self, asset_id: str) -> None:
        """Let `video.asset.updated` be told of an asset now; KeyError if there is none."""
        self.world.update_asset(self._asset(asset_id), self.now())

    def create_upload(
        self,
        *,
        life: Life | None = None,
        timeout: int = 3600,
        passthrough: str | None = None,
        policies: Sequence[str] = ("public",),
        test: bool = False,
    ) -> str:
        """The id of a new upload; the asset made of its bytes lives as `life` says."""
        given = {"playback_policies": list(policies)} | ({"passthrough": passthrough} if passthrough else {})
        settings = Settings(policies=tuple(policies), passthrough=passthrough, test=test)
        check_whole("timeout", timeout, low=60, high=604_800)
        upload = self.world.create_upload(
            self.now(), settings=settings, given=given, timeout=timeout, cors_origin="*", life=life
        )
        return upload.id

    def finish_upload(self, upload_id: str) -> str:
        """The id of the asset made as if the bytes had come now; ValueError if the upload no longer waits."""
        asset = self.world.finish_upload(self._upload(upload_id), self.life, self.now())
        return asset.id if asset else refuse("upload_id", "no longer waits for its bytes; create another upload")

    def cancel_upload(self, upload_id: str) -> None:
        """Cancel an upload now; ValueError if it no longer waits."""
        if not self.world.cancel_upload(self._upload(upload_id), self.now()):
            refuse("upload_id", "no longer waits for its bytes; create another upload")

    def truth(self, asset_id: str) -> Truth:
        """What is really so about an asset now; KeyError if there never was one."""
        return self.world.truth(asset_id, self.now())

    def truths(self) -> dict[str, Truth]:
        """What is really so now about every asset there ever was, deleted ones too, by id."""
        return {truth.asset_id: truth for truth in self.world.truths(self.now())}

    def events(self, since: float, until: float) -> Iterator[LifeEvent]:
        """What happens from `since` on and before `until` (unix seconds), in order, as planned now."""
        return self.world.events(since, until)

    def add_fault(
        self,
        kind: str,
        *,
        operation: str | None = None,
        object_id: str | None = None,
        times: int | None = None,
        probability: float = 1.0,
        seconds: float | None = None,
        retry_after: int | None = None,
    ) -> Rule:
        """Set a fault; the rule tells how often it has `fired`."""
        fault = Fault(
            kind=kind,
            operation=operation,
            object_id=object_id,
            times=times,
            probability=probability,
            seconds=seconds,
            retry_after=retry_after,
        )
        return self.faults.add(fault)

    def remove_fault(self, rule: Rule) -> None:
        """Set a fault no more."""
        self.faults.remove(rule)

    def clear_faults(self) -> None:
        """Set no faults."""
        self.faults.clear()

    def add_webhook(  # noqa: PLR0913 - all that a test may choose, each by its name
        self,
        url: str,
        secret: str,
        *,
        drop: float = 0.0,
        double: float = 0.0,
        shuffle: float = 0.0,
        delay: tuple[float, float] = (0.0, 0.0),
        forge: float = 0.0,
        timeout: float = ANSWER_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Webhook:
        """Tell an endpoint of all that happens from now on; the webhook tells of its `deliveries`.

        `drop`, `double`, `shuffle` and `forge` are the chance of it for each event, `delay` the least and the most
        seconds from the event to its delivery, `timeout` real seconds; `transport` reaches an endpoint in this process.
        """
        endpoint = Endpoint(
            url=url,
            secret=secret,
            drop=drop,
            double=double,
            shuffle=shuffle,
            delay=delay,
            forge=forge,
            timeout=timeout,
        )
        return self.webhooks.add(endpoint, self.world, self.seed, self.now(), transport)

    def clear_webhooks(self) -> None:
        """Tell no endpoint anything more."""
        self.webhooks.clear()

    @property
    def deliveries(self) -> Deliveries:
        """What became of events at all endpoints together."""
        return reduce(add, (webhook.deliveries for webhook in self.webhooks), Deliveries())

    def _asset(self, asset_id: str) -> Asset:
        asset = self.world.asset(asset_id, self.now())
        if asset is None:
            raise KeyError(asset_id)
        return asset

    def _upload(self, upload_id: str) -> Upload:
        upload = self.world.upload(upload_id)
        if upload is None:
            raise KeyError(upload_id)
        return upload

    def _past(self, moment: float) -> float:
        if moment > self.now():
            refuse("created_at", "must not be in the future; plan an earlier one, or move the clock first")
        return moment
