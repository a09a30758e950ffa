"""A Mux environment that Python code can fill, inspect and disturb; opens no socket."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import httpx

from rindle_sync.emulator.asset_parts import add_parts, add_rendition, add_track, set_master_access
from rindle_sync.emulator.environment import Environment, Truth
from rindle_sync.emulator.faults import Fault, Faults, Rule
from rindle_sync.emulator.ids import Ids
from rindle_sync.emulator.lifecycle import (
    Asset,
    AssetState,
    Ending,
    Life,
    Lives,
    Policy,
    RenditionLife,
    Settings,
    Upload,
)
from rindle_sync.emulator.parts import MasterAccess
from rindle_sync.emulator.rate_limits import Priority, RateLimits
from rindle_sync.emulator.requests import ASSET_UPDATE, RENDITION, TRACK, read_known
from rindle_sync.emulator.timeline import EventType, LifeEvent
from rindle_sync.emulator.validation import check_number, check_whole, check_word, reject
from rindle_sync.emulator.webhooks import Deliveries, Endpoint, Webhook, Webhooks
from rindle_sync.emulator.whoami import Whoami

_PART_SECONDS: Final = 5.0

PriorityWord = Priority | Literal["high", "low"]


class NotAtMux(KeyError):
    """Mux has no such thing; the sentence says what is taken."""

    def __str__(self) -> str:
        return str(self.args[0])


class MuxAccount:
    """One environment with its token, faults, limits and counters.

    It depends only on seed, clock and calls: the same three give the same ids and responses.
    """

    def __init__(  # noqa: PLR0913 - every choice of a test, each by name
        self,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
        token_id: str = "emulator-token-id",  # noqa: S107 - valid for this emulator only
        token_secret: str = "emulator-token-secret",  # noqa: S107 - valid for this emulator only
        environment_id: str = "emulator-environment",
        rate_limits: PriorityWord | None = None,
        retry_after: bool = False,
        prepare_seconds: float = 10.0,
    ) -> None:
        self.now = now
        self.sleep = sleep
        self.token_id = token_id
        self.token_secret = token_secret
        self.whoami = Whoami(environment_id=environment_id)
        self.default_lives = Lives(
            asset=Life(after=prepare_seconds),
            track=Life(after=_PART_SECONDS),
            static_rendition=RenditionLife(after=_PART_SECONDS),
            master=Life(after=_PART_SECONDS),
        )
        self.lives = self.default_lives
        self.limits: RateLimits | None = None
        self.set_rate_limits(rate_limits, retry_after=retry_after)
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._start(seed)
        self.webhooks = Webhooks(self.environment, seed)

    @property
    def life(self) -> Life:
        """The lifecycle of assets created over the API; those of their parts are in `lives`."""
        return self.lives.asset

    @life.setter
    def life(self, life: Life) -> None:
        self.lives = replace(self.lives, asset=life)

    def _start(self, seed: int) -> None:
        self.seed = seed
        self.ids = Ids(seed)
        self.environment = Environment(self.ids)
        self.faults = Faults(seed)

    def reset(self, seed: int | None = None) -> None:
        """Reset to an empty environment without faults or counts and with full rate limit buckets.

        A new `seed` gives new ids. Webhook endpoints stay, their pending deliveries do not.
        """
        self._start(self.seed if seed is None else seed)
        # after `_start`, which makes the environment that they follow
        self.webhooks.restart(self.environment, self.seed, self.now())
        self.lives = self.default_lives
        if self.limits is not None:
            self.set_rate_limits(self.limits.priority, retry_after=self.limits.retry_after)
        self.reset_calls()

    def reset_calls(self) -> None:
        """Reset the counters `calls` and `statuses`."""
        self.calls.clear()
        self.statuses.clear()

    def set_rate_limits(self, priority: PriorityWord | None, *, retry_after: bool = False) -> None:
        """Full buckets of Mux's size for a token of this priority; None for no limits."""
        self.limits = None
        if priority is not None:
            self.limits = RateLimits(Priority(priority), retry_after=retry_after)

    def create_asset(
        self,
        *,
        life: Life | None = None,
        created_at: float | None = None,
        passthrough: str | None = None,
        policies: Sequence[str] = ("public",),
        meta: Mapping[str, str] | None = None,
        test: bool = False,
        live_stream_id: str | None = None,
        live_seconds: float | None = None,
    ) -> str:
        """The id of a new asset; `created_at` is in Unix seconds and not in the future.

        With `live_seconds` it records a live stream that goes on so long after its creation.
        """
        settings = Settings(
            policies=tuple(policies),
            passthrough=passthrough,
            meta=meta,
            test=test,
            live_stream_id=live_stream_id,
            live_seconds=live_seconds,
        )
        at = self.now() if created_at is None else created_at
        self._check_past(at)
        return self.environment.create_asset(settings, life or self.life, at).id

    def create_assets(
        self,
        n: int,
        *,
        life: Life | Callable[[int], Life] | None = None,
        created_at: float | None = None,
        every: float = 0.0,
        passthrough: str | Callable[[int], str] | None = None,
        policies: Sequence[str] = ("public",),
        live_stream_id: str | None = None,
        live_seconds: float | None = None,
    ) -> list[str]:
        """The ids of `n` new assets, oldest first, created `every` so many seconds.

        The last one is created now, unless `created_at` is given for the first one. A function for
        `life` or `passthrough` is called with 0 to n - 1.
        """
        duration = check_number("every", every) * (check_whole("n", n, low=1) - 1)
        first = self.now() - duration if created_at is None else created_at
        self._check_past(first)
        self._check_past(first + duration)
        shared = Settings(
            policies=tuple(policies),
            passthrough=None if callable(passthrough) else passthrough,
            live_stream_id=live_stream_id,
            live_seconds=live_seconds,
        )
        ids = []
        for i in range(n):
            settings = shared
            if callable(passthrough):
                settings = replace(shared, passthrough=passthrough(i))
            own_life = life(i) if callable(life) else life
            created = first + i * every
            asset = self.environment.create_asset(settings, own_life or self.life, created)
            ids.append(asset.id)
        return ids

    def delete_asset(self, asset_id: str) -> None:
        """Delete an asset now; KeyError if there is none."""
        self.environment.delete_asset(self._asset(asset_id), self.now())

    def finish_asset(self, asset_id: str) -> None:
        """Make an asset that is preparing ready now, whatever its lifecycle says.

        ValueError if it does not prepare any more, KeyError if there is none.
        """
        self._end(asset_id, ends=Ending.READY)

    def fail_asset(
        self, asset_id: str, *, error_type: str = "invalid_input", error_message: str | None = None
    ) -> None:
        """Make an asset that is preparing errored now; the same errors as `finish_asset`."""
        message = error_message or self.life.error_message
        self._end(asset_id, ends=Ending.ERRORED, error_type=error_type, error_message=message)

    def _end(self, asset_id: str, **ending: Any) -> None:
        asset, now = self._asset(asset_id), self.now()
        state = asset.state(now)
        if state is not AssetState.PREPARING:
            reject("asset_id", f"names an asset that is {state} already; create another asset")
        self.environment.end_asset(asset, now, **ending)

    def update_asset(self, asset_id: str, **changes: Any) -> None:
        """Change `passthrough`, `meta` or `thumbnail_time` of an asset; KeyError if none."""
        asset, changes = self._asset(asset_id), read_known(changes, ASSET_UPDATE)
        self.environment.update_asset(asset, self.now(), changes)

    def create_playback_id(self, asset_id: str, policy: str = "public") -> str:
        """The id of one more playback id of an asset; KeyError if there is no such asset."""
        check_word("policy", policy, Policy)
        return self.environment.create_playback_id(self._asset(asset_id), policy, self.now()).id

    def delete_playback_id(self, playback_id: str) -> None:
        """Remove a playback id from its asset now; KeyError if there is none."""
        found = self.environment.playback_id(playback_id, self.now())
        if found is None:
            raise NotAtMux(f"no asset of Mux has the playback id {playback_id!r}")
        self.environment.delete_playback_id(*found, self.now())

    def create_track(self, asset_id: str, *, life: Life | None = None, **fields: Any) -> str:
        """The id of a new track of an asset.

        `fields` are those of Mux: `type` (text), `language_code` (en), `name` and others.
        """
        given = read_known({"type": "text", "language_code": "en", **fields}, TRACK)
        asset, life = self._asset(asset_id), life or self.lives.track
        return add_track(self.environment, asset, given, life, self.now()).id

    def create_static_rendition(
        self, asset_id: str, resolution: str = "highest", *, life: Life | None = None
    ) -> str:
        """The id of a new static rendition of an asset."""
        given = read_known({"resolution": resolution}, RENDITION)
        asset, life = self._asset(asset_id), life or self.lives.static_rendition
        return add_rendition(self.environment, asset, given, life, self.now()).id

    def delete_part(self, part_id: str) -> None:
        """Delete a track or a static rendition now; KeyError if there is none."""
        self.environment.delete_part(self.environment.parts[part_id], self.now())

    def set_master_access(self, asset_id: str, access: str, *, life: Life | None = None) -> None:
        """Prepare the master of an asset (`temporary`) or remove it (`none`)."""
        check_word("access", access, MasterAccess)
        asset, life = self._asset(asset_id), life or self.lives.master
        set_master_access(self.environment, asset, access, life, self.now())

    def announce_update(self, asset_id: str) -> None:
        """Send `video.asset.updated` for an asset now; KeyError if there is none."""
        asset = self._asset(asset_id)
        self.environment.timeline.add(self.now(), EventType.ASSET_UPDATED, asset)

    def create_upload(
        self,
        *,
        life: Life | None = None,
        timeout: int = 3600,
        passthrough: str | None = None,
        policies: Sequence[str] = ("public",),
        test: bool = False,
    ) -> str:
        """The id of a new upload; the asset created from its file has the lifecycle `life`."""
        requested: dict[str, object] = {"playback_policies": list(policies)}
        if passthrough:
            requested["passthrough"] = passthrough
        upload = self.environment.create_upload(
            self.now(),
            settings=Settings(policies=tuple(policies), passthrough=passthrough, test=test),
            requested=requested,
            timeout=check_whole("timeout", timeout, low=60, high=604_800),
            cors_origin="*",
            life=life,
        )
        return upload.id

    def finish_upload(self, upload_id: str) -> str:
        """The id of the asset created as if the file had arrived now.

        ValueError if the upload is no longer waiting, KeyError if there is none.
        """
        upload, now = self._upload(upload_id), self.now()
        asset = self.environment.finish_upload(upload, self.life, now)
        if asset is None:
            reject("upload_id", "no longer waits for its file; create another upload")
        add_parts(self.environment, asset, upload.requested, self.lives, now)
        return asset.id

    def cancel_upload(self, upload_id: str) -> None:
        """Cancel an upload now; the same errors as `finish_upload`."""
        if not self.environment.cancel_upload(self._upload(upload_id), self.now()):
            reject("upload_id", "no longer waits for its file; create another upload")

    def truth(self, asset_id: str) -> Truth:
        """The true state of an asset now; KeyError if it never existed."""
        return self.environment.truth(asset_id, self.now())

    def truths(self) -> dict[str, Truth]:
        """The true state now of every asset that ever existed, deleted ones too, by id."""
        environment, now = self.environment, self.now()
        # a copy: a server in another thread may create assets meanwhile
        asset_ids = tuple(environment.assets)
        return {asset_id: environment.truth(asset_id, now) for asset_id in asset_ids}

    def events(self, since: float, until: float) -> Iterator[LifeEvent]:
        """The events from `since` on and before `until` (Unix seconds), as planned now."""
        return self.environment.timeline.between(since, until)

    def add_fault(self, kind: str, **settings: Any) -> Rule:
        """Set a fault with the `settings` of `Fault`; the rule counts how often it has `fired`."""
        return self.faults.add(Fault(kind=kind, **settings))

    def remove_fault(self, rule: Rule) -> None:
        """Remove a fault, if it is still active."""
        # a new list: the old one may be iterated by a call that waits
        self.faults.rules = [active for active in self.faults.rules if active is not rule]

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.faults.clear()

    def add_webhook(
        self,
        url: str,
        secret: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **faults: Any,
    ) -> Webhook:
        """Send every event from now on to an endpoint; the webhook counts its `deliveries`.

        `faults` are those of `Endpoint`: `drop`, `double`, `shuffle` and `forge` are the
        probability of that fault for each event, `delay` the minimum and maximum seconds from an
        event to its delivery, `timeout` seconds of real time; `transport` reaches an endpoint in
        this process.
        """
        endpoint = Endpoint(url=url, secret=secret, **faults)
        return self.webhooks.add(endpoint, self.now(), transport)

    def clear_webhooks(self) -> None:
        """Remove all webhook endpoints."""
        self.webhooks.clear()

    @property
    def deliveries(self) -> Deliveries:
        """The counts of all endpoints together."""
        return sum((webhook.deliveries for webhook in self.webhooks), start=Deliveries())

    def _asset(self, asset_id: str) -> Asset:
        asset = self.environment.asset(asset_id, self.now())
        if asset is None:
            text = "give its row, or the id that Mux gave it, such as `create_asset` returns"
            raise NotAtMux(f"Mux has no asset {asset_id!r}: {text}")
        return asset

    def _upload(self, upload_id: str) -> Upload:
        upload = self.environment.upload(upload_id)
        if upload is None:
            text = "give the upload, its URL, or the id that Mux gave it"
            raise NotAtMux(f"Mux has no upload {upload_id!r}: {text}")
        return upload

    def _check_past(self, created_at: float) -> None:
        if created_at > self.now():
            reject("created_at", "must not be in the future; use an earlier time or move the clock")
        if created_at < 0:
            reject("created_at", "must not be before 1970; use a later time or fewer assets")
