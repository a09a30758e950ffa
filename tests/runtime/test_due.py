"""How a service ends what listens for new work."""

import asyncio

import pytest

from rindle_sync.runtime.due import CANCELLATIONS, end_watching


async def forget(cancellations: int) -> None:
    """Wait for ever, as a library that loses so many cancellations."""
    for _ in range(cancellations):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_what_listens_ends_even_where_a_cancellation_is_lost(lost: int) -> None:
    watching = asyncio.create_task(forget(lost))
    await asyncio.sleep(0)

    await end_watching(watching, 0.01)

    assert watching.cancelled()


async def test_what_never_ends_does_not_hold_up_the_end_of_the_service() -> None:
    watching = asyncio.create_task(forget(CANCELLATIONS))
    await asyncio.sleep(0)

    await end_watching(watching, 0.01)

    assert not watching.done()
    watching.cancel()
