"""The template tags, in templates of an app."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as write
from cryptography.hazmat.primitives.asymmetric import rsa
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory, override_settings
from films.models import Film
from msgspec.structs import replace

from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.django import rindle
from rindle_sync.integrations.django.models import ProviderAsset
from rindle_sync.testing.django import AppMux, app_mux

pytest_plugins = ["tests.django_site.fixtures"]

PLAYER = "https://cdn.example.com/player.js"

MakeVideo = Callable[..., ProviderAsset]


def shown(tag: str, **values: Any) -> str:
    return Template("{% load rindle %}" + tag).render(Context(values)).strip()


@pytest.fixture
def ready(mux: AppMux, video: MakeVideo) -> ProviderAsset:
    made = video()
    mux.finish(made)
    mux.deliver()
    made.refresh_from_db()
    return made


def playback_id_of(video: ProviderAsset) -> str:
    return str(video.row.playback_ids[0].id)


def test_a_ready_video_has_a_video_element_with_its_stream_and_poster(ready: ProviderAsset) -> None:
    html = shown("{% mux_player video title=title %}", video=ready, title="A & B")

    assert html.startswith("<video controls")
    assert f'src="https://stream.mux.com/{playback_id_of(ready)}.m3u8"' in html
    assert f'poster="https://image.mux.com/{playback_id_of(ready)}/thumbnail.jpg"' in html
    assert 'title="A &amp; B"' in html


@override_settings(RINDLE_PLAYER_URL=PLAYER)
def test_with_the_players_address_the_page_has_that_player_and_no_inline_script(
    ready: ProviderAsset,
) -> None:
    html = shown("{% mux_player video title='Holidays' %}", video=ready)

    assert html.startswith(f'<script type="module" src="{PLAYER}"></script>')
    assert f'<mux-player playback-id="{playback_id_of(ready)}"' in html
    assert 'metadata-video-title="Holidays"' in html
    assert "style=" not in html
    assert "-token=" not in html


@override_settings(RINDLE_PLAYER_URL=PLAYER)
def test_the_script_carries_the_nonce_of_the_pages_policy(ready: ProviderAsset) -> None:
    request = RequestFactory().get("/")
    request.csp_nonce = "a-nonce"  # type: ignore[attr-defined]

    by_request = shown("{% mux_player video %}", video=ready, request=request)
    by_context = shown("{% mux_player video %}", video=ready, csp_nonce="another")

    assert 'nonce="a-nonce"' in by_request
    assert 'nonce="another"' in by_context


def test_a_row_a_model_row_and_a_video_field_play_alike(ready: ProviderAsset) -> None:
    film = Film.objects.create(title="Holidays", video=ready)

    by_field = shown("{% mux_player film.video %}", film=film)
    by_model = shown("{% mux_player video %}", video=ready)
    by_row = shown("{% mux_player video %}", video=rindle.get(ready.pk))

    assert by_field == by_model == by_row
    assert "stream.mux.com" in by_field


def test_what_else_a_tag_names_becomes_an_escaped_attribute(ready: ProviderAsset) -> None:
    html = shown(
        "{% mux_player video width=640 muted=True loop=False data_name=name %}",
        video=ready,
        name='"><script>',
    )

    assert ' width="640"' in html
    assert " muted" in html
    assert "loop" not in html
    assert 'data-name="&quot;&gt;&lt;script&gt;"' in html


def test_a_title_of_visitors_is_escaped(ready: ProviderAsset) -> None:
    html = shown("{% mux_player video title=title %}", video=ready, title='"><script>alert(1)')

    assert "<script>" not in html


def test_a_video_that_is_not_ready_or_has_failed_says_so(mux: AppMux, video: MakeVideo) -> None:
    waits, failed = video("waits"), video("failed")
    mux.fail(failed)
    mux.deliver()
    failed = ProviderAsset.objects.get(pk=failed.pk)

    assert shown("{% mux_player video %}", video=waits) == (
        '<p class="rindle-video" data-state="processing" role="status">'
        "This video is being processed.</p>"
    )
    assert shown("{% mux_player video %}", video=failed) == (
        '<p class="rindle-video" data-state="errored" role="alert">'
        "This video could not be processed.</p>"
    )
    assert 'data-state="none"' in shown("{% mux_player video %}", video=None)


def test_a_poster_has_the_modifiers_and_none_is_empty(
    ready: ProviderAsset, video: MakeVideo
) -> None:
    poster = shown("{% mux_poster video width=320 time=3 as it %}{{ it }}", video=ready)
    animated = shown("{% mux_poster video kind='animated.webp' %}", video=ready)

    assert poster == (
        f"https://image.mux.com/{playback_id_of(ready)}/thumbnail.jpg?width=320&amp;time=3"
    )
    assert animated == f"https://image.mux.com/{playback_id_of(ready)}/animated.webp"
    assert shown("{% mux_poster video %}", video=video("waits")) == ""
    assert shown("{% mux_poster video %}", video=None) == ""


WRONG = [
    ("mux_player 42", r"mux_player .*video: must be the value of a VideoField"),
    ("mux_player video expires_in='abc'", "mux_player .*expires_in: must be seconds"),
    ("mux_player video expires_in=None", "mux_player .*expires_in: must be seconds"),
    ("mux_player video expires_in=1000000000000", "mux_player .*expires_in: must be seconds"),
    ("mux_player video poster_time='soon'", "mux_player .*poster_time: must be seconds"),
    ("mux_player video policy='nope'", "mux_player .*policy: must be one of public"),
    ("mux_player video width=several", "mux_player .*width: .* it is a list"),
    ("mux_poster 42", "mux_poster .*video: must be the value of a VideoField"),
    ("mux_poster video kind='nope'", r"mux_poster .*kind: must be one of .*thumbnail\.jpg"),
    ("mux_poster video policy='nope'", "mux_poster .*policy: must be one of public"),
    ("mux_poster video expires_in='abc'", "mux_poster .*expires_in: must be seconds"),
    ("mux_poster video width=several", "mux_poster .*width: .* it is a list"),
]


def test_a_wrong_option_is_named_to_a_developer(ready: ProviderAsset) -> None:
    for tag, text in WRONG:
        with override_settings(DEBUG=True), pytest.raises(TemplateSyntaxError, match=text):
            shown(f"{{% {tag} %}}", video=ready, several=[1, 2])


def test_a_wrong_option_shows_a_visitor_no_error_page_and_is_logged(
    ready: ProviderAsset, caplog: pytest.LogCaptureFixture
) -> None:
    for tag, text in WRONG:
        caplog.clear()
        html = shown(f"{{% {tag} %}}", video=ready, several=[1, 2])

        sorry = "This video cannot be played now." if tag.startswith("mux_player") else ""
        assert (sorry in html) if sorry else html == ""
        assert re.search(text, caplog.text)


def test_an_attribute_may_be_zero(ready: ProviderAsset) -> None:
    html = shown("{% mux_player video data_index=0 tabindex=zero %}", video=ready, zero=0.0)

    assert ' data-index="0"' in html
    assert ' tabindex="0.0"' in html


def test_a_video_of_an_environment_that_is_no_setting_any_more_is_logged_once(
    ready: ProviderAsset, caplog: pytest.LogCaptureFixture
) -> None:
    row = replace(ready.row, environment="of the past")

    for _ in range(2):
        assert "cannot be played now" in shown("{% mux_player video %}", video=row)
        assert shown("{% mux_poster video %}", video=row) == ""
    assert caplog.text.count("of the past") == 1
    assert "default" in caplog.text


def test_a_service_of_no_environment_names_those_there_are(mux: AppMux) -> None:
    with pytest.raises(
        ConfigurationError, match="'live' is not in the settings; there are default"
    ):
        rindle.of("live")


@pytest.fixture
def signing_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    encoding = write.Encoding.PEM, write.PrivateFormat.PKCS8, write.NoEncryption()
    return key.private_bytes(*encoding).decode()


@override_settings(RINDLE_PLAYER_URL=PLAYER)
def test_a_signed_video_has_a_token_for_each_part(transactional_db: None, signing_key: str) -> None:
    own = {"mux_signing_key_id": "key-1", "mux_signing_private_key": signing_key}
    with app_mux(**own) as mux:
        asset_id = mux.create_asset(policies=["signed"])
        row = rindle.track(reference="film-1", provider_asset_id=asset_id)
        mux.finish(asset_id)
        mux.deliver()
        html = shown("{% mux_player video %}", video=rindle.get(row.id))
        poster = shown("{% mux_poster video %}", video=rindle.get(row.id))

    for name in ("playback", "thumbnail", "storyboard"):
        assert f'{name}-token="ey' in html
    assert "thumbnail.jpg?token=ey" in poster


def test_a_missing_key_is_logged_and_the_page_still_shows(
    mux: AppMux, video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    signed = video(asset={"policies": ["signed"]})
    mux.finish(signed)
    mux.deliver()

    html = shown("{% mux_player video %}", video=ProviderAsset.objects.get(pk=signed.pk))

    assert "This video cannot be played now." in html
    assert "mux_signing" in caplog.text
    assert signed.provider_asset_id not in caplog.text
