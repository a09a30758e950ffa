"""Which playback policies a new asset is asked for: as the app gives them, and nothing beside."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.emulator import MuxEmulator
from rindle_sync.errors import ConfigurationError

DRM = {"policy": "drm", "drm_configuration_id": "configuration-1"}
PUBLIC = {"policy": "public"}
ADVANCED, PLAIN = "advanced_playback_policies", "playback_policies"


@pytest.fixture
def mux() -> MuxEmulator:
    return MuxEmulator()


@pytest.fixture
async def rindle(mux: MuxEmulator, tables_url: str) -> AsyncIterator[RindleSync]:
    settings = plain_settings(
        database_url=tables_url, mux_token_id=mux.token_id, mux_token_secret=mux.token_secret
    )
    async with connect(settings, transport=httpx.ASGITransport(app=mux.app)) as rindle:
        yield rindle


async def begun(rindle: RindleSync, **values: Any) -> str | None:
    """The policy that the row of a new upload keeps."""
    upload = await rindle.begin_upload(reference="video-1", cors_origin="*", **values)
    row = await rindle.get(upload.row_id)
    assert row
    return row.playback_policy


def asked_for(mux: MuxEmulator) -> dict[str, Any]:
    """What Mux was asked for, as far as it is about playback."""
    [upload] = mux.environment.uploads(limit=10)
    asked = json.loads(json.dumps(upload.requested))
    return {name: value for name, value in asked.items() if "playback" in name}


@pytest.mark.parametrize(
    ("policy", "sent"),
    [
        (None, ["public"]),
        ("public", ["public"]),
        ("signed", ["signed"]),
        (["public", "signed"], ["public", "signed"]),
        (("signed", "public"), ["signed", "public"]),
    ],
)
async def test_the_policies_of_the_argument_are_sent_as_they_are(
    rindle: RindleSync, mux: MuxEmulator, policy: str | Sequence[str] | None, sent: list[str]
) -> None:
    kept = await begun(rindle, playback_policy=policy)

    assert asked_for(mux) == {PLAIN: sent}
    assert kept == ",".join(sent)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({PLAIN: ["public", "signed"]}, "public,signed"),
        ({PLAIN: ["signed"]}, "signed"),
        ({PLAIN: []}, None),
        ({"playback_policy": ["signed"]}, "signed"),
        ({ADVANCED: [DRM]}, "drm"),
        ({ADVANCED: [PUBLIC, DRM]}, "public,drm"),
        ({PLAIN: ["public"], ADVANCED: [DRM]}, "public,drm"),
    ],
)
async def test_nothing_is_added_to_the_policies_of_the_settings(
    rindle: RindleSync, mux: MuxEmulator, settings: dict[str, Any], kept: str | None
) -> None:
    assert await begun(rindle, new_asset_settings=settings) == kept
    assert asked_for(mux) == settings


@pytest.mark.parametrize("policy", ["drm", ["drm"]])
async def test_an_argument_that_says_the_same_as_the_settings_is_none_too_many(
    rindle: RindleSync, mux: MuxEmulator, policy: str | list[str]
) -> None:
    settings = {ADVANCED: [DRM]}

    assert await begun(rindle, playback_policy=policy, new_asset_settings=settings) == "drm"
    assert asked_for(mux) == settings


@pytest.mark.parametrize(
    ("policy", "settings", "named"),
    [
        ("drm", {}, "playback_policy"),
        (["public", "drm"], {}, "playback_policy"),
        ("bogus", {}, "playback_policy"),
        ("public", {PLAIN: ["signed"]}, "playback_policy"),
        ("public", {PLAIN: ["public", "signed"]}, "playback_policy"),
        ("public", {PLAIN: []}, "playback_policy"),
        ("public", {ADVANCED: [DRM]}, "playback_policy"),
        ("drm", {PLAIN: ["public"]}, "playback_policy"),
        (None, {PLAIN: ["drm"]}, f"new_asset_settings.{PLAIN}"),
        (None, {PLAIN: ["bogus"]}, f"new_asset_settings.{PLAIN}"),
        (None, {PLAIN: 7}, f"new_asset_settings.{PLAIN}"),
        (None, {PLAIN: [7]}, f"new_asset_settings.{PLAIN}"),
        (None, {ADVANCED: [{"policy": "drm"}]}, f"new_asset_settings.{ADVANCED}"),
        (None, {ADVANCED: [DRM | PUBLIC]}, f"new_asset_settings.{ADVANCED}"),
        (None, {ADVANCED: ["drm"]}, f"new_asset_settings.{ADVANCED}"),
        (None, {ADVANCED: [{}]}, f"new_asset_settings.{ADVANCED}"),
        (None, {ADVANCED: DRM}, f"new_asset_settings.{ADVANCED}"),
        (None, {PLAIN: ["public"], "playback_policy": ["signed"]}, "new_asset_settings"),
    ],
)
async def test_policies_that_contradict_are_refused_before_there_is_a_row_or_an_upload(
    rindle: RindleSync,
    mux: MuxEmulator,
    policy: str | list[str] | None,
    settings: dict[str, Any],
    named: str,
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await begun(rindle, playback_policy=policy, new_asset_settings=settings)

    assert refused.value.setting == named
    assert [row async for row in rindle.store.assets.rows()] == []
    assert mux.environment.uploads(limit=10) == []


async def test_drm_without_a_configuration_is_told_the_form_that_works(rindle: RindleSync) -> None:
    with pytest.raises(ConfigurationError, match=r'"advanced_playback_policies": .*"drm_config'):
        await begun(rindle, playback_policy="drm")


async def test_a_row_is_tracked_with_several_policies(rindle: RindleSync) -> None:
    row = await rindle.track(
        reference="video-1", provider_asset_id="asset-1", playback_policy="public,signed"
    )

    assert row.playback_policy == "public,signed"
