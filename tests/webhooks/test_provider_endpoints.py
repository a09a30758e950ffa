"""Webhook endpoints at the provider: made, listed and deleted through the gateway."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx
import pytest

from rindle_sync.emulator import MuxEmulator
from rindle_sync.errors import (
    AuthenticationFailed,
    ConfigurationError,
    EnvironmentMismatch,
    ProviderUnavailable,
    RateLimited,
)
from rindle_sync.providers import WebhookEndpoint
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.webhooks import create_endpoint, delete_endpoint, find_endpoint, list_endpoints
from tests.support.world import World

ADDRESS = "https://app.example.com/webhooks/mux"
CREATE, LIST, DELETE = "create_webhook", "list_webhooks", "delete_webhook"


def permit(emulator: MuxEmulator, *permissions: str) -> None:
    emulator.whoami = replace(emulator.whoami, permissions=permissions)


def a_mux(answer: Callable[[httpx.Request], httpx.Response]) -> Mux:
    """An adapter to what answers so."""
    return Mux(Credentials("id", "secret"), transport=httpx.MockTransport(answer))


def addresses(endpoints: Sequence[WebhookEndpoint]) -> list[str]:
    return [endpoint.address for endpoint in endpoints]


async def test_an_endpoint_is_made_listed_and_deleted(world: World) -> None:
    created = await create_endpoint(world.context, ADDRESS)
    [listed] = await list_endpoints(world.context)
    found = await find_endpoint(world.context, ADDRESS)
    by_id = await find_endpoint(world.context, created.endpoint.id)

    assert created.endpoint == listed == found == by_id
    assert (listed.address, listed.enabled, listed.created_at) == (ADDRESS, True, world.clock.now())
    assert [webhook.endpoint.secret for webhook in world.emulator.webhooks] == [created.secret]
    assert await delete_endpoint(world.context, listed)
    assert not await delete_endpoint(world.context, listed)
    assert await list_endpoints(world.context) == []
    assert await find_endpoint(world.context, ADDRESS) is None


@pytest.mark.parametrize("number", [99, 100, 101, 250])
async def test_every_page_is_listed(world: World, number: int) -> None:
    wanted = [f"{ADDRESS}/{place}" for place in range(number)]
    for address in wanted:
        world.emulator.add_webhook(address, "secret")

    listed = await list_endpoints(world.context)

    assert addresses(listed) == wanted[::-1]
    assert world.emulator.calls[LIST] == -(-number // 100)


async def test_a_disabled_endpoint_is_listed_as_such(world: World) -> None:
    world.emulator.add_webhook(ADDRESS, "secret").change(0, enabled=False)

    [listed] = await list_endpoints(world.context)

    assert listed.enabled is False


async def test_an_address_that_is_taken_is_said_to_be(world: World) -> None:
    await create_endpoint(world.context, ADDRESS)

    with pytest.raises(ConfigurationError, match="ADDRESS: is taken: an endpoint has it already"):
        await create_endpoint(world.context, ADDRESS)

    # a token that may only write is told in the provider's own words
    permit(world.emulator, "system:write")
    with pytest.raises(ConfigurationError, match=r"ADDRESS: is refused.*already been taken"):
        await create_endpoint(world.context, ADDRESS)
    assert len([*world.emulator.webhooks]) == 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "/webhooks/mux",
        "ftp://app.example.com/",
        "https://",
        "https://user:password@app.example.com/",
        "https://app.example.com:99999/",
        "https://app.example.com:0/",
        "https://[::1",
        "https://app.example.com/a b",
        "https://app.example.com/\n",
        "https://app.example.com/#part",
        f"https://app.example.com/{'x' * 2048}",
    ],
)
async def test_what_is_no_address_is_refused_before_any_call(world: World, address: str) -> None:
    with pytest.raises(ConfigurationError, match="ADDRESS: must be a public address") as refused:
        await create_endpoint(world.context, address)

    assert not world.emulator.calls
    assert "password" not in str(refused.value)


async def test_a_refusal_names_the_permission_that_the_token_lacks(world: World) -> None:
    endpoint = (await create_endpoint(world.context, ADDRESS)).endpoint
    permit(world.emulator, "video:read", "video:write")

    with pytest.raises(AuthenticationFailed, match=r"403.*has the permission system:write"):
        await create_endpoint(world.context, f"{ADDRESS}/2")
    with pytest.raises(AuthenticationFailed, match=r"403.*has the permission system:read"):
        await list_endpoints(world.context)
    with pytest.raises(AuthenticationFailed, match=r"403.*has the permission system:write"):
        await delete_endpoint(world.context, endpoint)

    # such a token keeps rows in sync as before
    row = await world.track()
    await world.sync(row)
    assert world.context.gateway.circuit.opened is None


async def test_no_endpoint_is_made_in_another_environment_than_that_of_the_rows(
    world: World,
) -> None:
    await world.know_identity()
    other = MuxEmulator(environment_id="another", now=world.clock.seconds, sleep=world.clock.sleep)
    endpoint = (await create_endpoint(world.context, ADDRESS)).endpoint
    await world.context.store.environments.identify(world.emulator.whoami.environment_id)
    world.with_token_of(other)

    with pytest.raises(EnvironmentMismatch):
        await create_endpoint(world.context, ADDRESS)
    with pytest.raises(EnvironmentMismatch):
        await delete_endpoint(world.context, endpoint)

    assert not [*other.webhooks]


async def test_after_a_429_it_is_made_once(world: World) -> None:
    world.emulator.add_fault("rate_limited", operation=CREATE, times=2, retry_after=1)

    await create_endpoint(world.context, ADDRESS)

    assert world.emulator.calls[CREATE] == 3
    assert len([*world.emulator.webhooks]) == 1


async def test_nobody_waits_for_an_hour(world: World) -> None:
    world.emulator.add_fault("rate_limited", operation=CREATE, retry_after=3600)

    with pytest.raises(RateLimited, match="mux answered 429"):
        await create_endpoint(world.context, ADDRESS)

    assert world.emulator.calls[CREATE] == 1


@pytest.mark.parametrize("fault", ["server_error", "bad_gateway", "broken_json", "truncated"])
async def test_a_create_without_an_answer_is_never_repeated(world: World, fault: str) -> None:
    world.emulator.add_fault(fault, operation=CREATE)

    with pytest.raises(ProviderUnavailable, match="may have been made all the same") as lost:
        await create_endpoint(world.context, ADDRESS)

    assert world.emulator.calls[CREATE] == 1
    assert "rindle-sync endpoint list" in str(lost.value)
    assert not any(hook.endpoint.secret in str(lost.value) for hook in world.emulator.webhooks)


async def test_each_call_is_granted_and_emitted(world: World) -> None:
    created = await create_endpoint(world.context, ADDRESS)
    await list_endpoints(world.context)
    await delete_endpoint(world.context, created.endpoint)

    ways = ["whoami", "create_endpoint", "list_endpoints", "delete_endpoint"]
    assert [call.way for call in world.called] == ways


async def test_no_secret_and_no_id_is_in_a_log_or_a_repr(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    created = await create_endpoint(world.context, f"{ADDRESS}?token=of-the-app")
    listed = await list_endpoints(world.context)
    await delete_endpoint(world.context, created.endpoint)

    shown = f"{created!r} {created} {listed!r} {caplog.text} {world.told} {world.called}"
    for secret in (created.secret, created.endpoint.id, "of-the-app"):
        assert secret not in shown


async def test_what_mux_may_add_or_leave_out_is_read_all_the_same(world: World) -> None:
    entries = [
        {"id": "one", "address": ADDRESS, "enabled": "yes", "created_at": "some day"},
        {"id": "two", "address": f"{ADDRESS}/2", "events": ["video.*"]},
        {"id": 3, "address": ADDRESS},
        {"id": "four"},
        "five",
    ]

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": entries, "more": 1})

    world.with_provider(a_mux(answer))

    listed = await list_endpoints(world.context)

    assert [(endpoint.id, endpoint.enabled, endpoint.created_at) for endpoint in listed] == [
        ("one", None, None),
        ("two", None, None),
    ]


async def test_a_list_without_an_end_is_not_followed_for_ever(world: World) -> None:
    page = {"data": [{"id": "one", "address": ADDRESS, "enabled": True}] * 100}

    world.with_provider(a_mux(lambda _: httpx.Response(200, json=page)))

    with pytest.raises(ProviderUnavailable, match="without an end"):
        await list_endpoints(world.context)


async def test_a_provider_without_such_calls_says_so(world: World) -> None:
    provider = a_mux(lambda _: httpx.Response(200))
    provider.webhook_endpoints = None
    world.with_provider(provider)

    with pytest.raises(ConfigurationError, match="make them by hand"):
        await list_endpoints(world.context)
