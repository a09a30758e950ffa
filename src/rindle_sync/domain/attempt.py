"""An attempt to have the provider make an upload or an asset: how it ends, and begins again. Pure.

A row has one attempt at a time. A new one gets a new passthrough, or other ids of the provider, so
that nothing that is still said of the one before matches the row.
"""

from datetime import datetime, timedelta

from rindle_sync.domain.asset import FROM_URL, ErrorKind, ProviderAsset, State, replace
from rindle_sync.domain.clocks import is_ahead
from rindle_sync.domain.decision import Decision, Policy, Verdict


def attempt_age(row: ProviderAsset, now: datetime) -> timedelta:
    """The time since the provider was asked; while it was not, since the row was written."""
    if row.begun_at is None or is_ahead(row.begun_at, now):
        return row.age(now)
    return max(now - row.begun_at, timedelta(0))


def not_begun(row: ProviderAsset, now: datetime) -> Decision:
    """The pending `row` ended: nobody has had its upload or asset made within the grace."""
    what = "asset" if row.ingest_mode == FROM_URL else "upload"
    text = f"{row.provider_name} {what} was not begun"
    return _ended(row, now, text, f"the {what} was not begun")


def not_listed(row: ProviderAsset, now: datetime, policy: Policy) -> Decision:
    """What a whole look through the newest assets says, where none carries the passthrough."""
    # a call that was given up may still be under way, and a list may lag
    if attempt_age(row, now) < policy.begin_grace:
        return Decision(Verdict.UNCHANGED, row, "its asset is not there yet")
    text = f"{row.provider_name} did not make the asset"
    return _ended(row, now, text, "its asset was not made")


def _ended(row: ProviderAsset, now: datetime, text: str, reason: str) -> Decision:
    ended = replace(
        row, state=State.ERRORED, error_kind=ErrorKind.UPLOAD, last_sync_error=text, updated_at=now
    )
    return Decision(Verdict.CHANGED, ended, reason)


def restart(
    row: ProviderAsset, fresh: ProviderAsset, now: datetime, *, replacing: bool = False
) -> Decision | None:
    """`row` begun again as `fresh`, at the app's request; None where it may not.

    It may where it is errored or deleted; with `replacing` also where it is ready.
    """
    if row.state not in {State.ERRORED, State.DELETED} | ({State.READY} if replacing else set()):
        return None
    return reassign(row, fresh, now, "begun again")


def reassign(row: ProviderAsset, fresh: ProviderAsset, now: datetime, reason: str) -> Decision:
    """`row` with all that `fresh` says; only its id, its names and its birth stay."""
    # observed now: late answers about what it had before are stale
    after = replace(fresh, id=row.id, inserted_at=row.inserted_at, observed_at=now, updated_at=now)
    return Decision(Verdict.CHANGED, after, reason)


def is_same_attempt(before: ProviderAsset, after: ProviderAsset) -> bool:
    """Whether what was observed of the row `before` may be said of the row `after`."""
    if before.passthrough != after.passthrough:
        return False
    # a row gains ids of the provider, and loses or changes one only with its attempt
    kept_asset = before.provider_asset_id in {None, after.provider_asset_id}
    kept_upload = before.provider_upload_id in {None, after.provider_upload_id}
    return kept_asset and kept_upload
