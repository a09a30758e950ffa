"""The jobs of a service, run by a test instead of an engine."""

from typing import Final

from rindle_sync.app import RindleSync
from rindle_sync.integrations.blocking import BlockingRindle

MOST_ROUNDS: Final = 50

_NEVER_ENDS: Final = (
    f"jobs are due after {MOST_ROUNDS} rounds still: does a callback make work each time?"
)


async def make_endpoint(rindle: RindleSync) -> None:
    """Make the endpoint of outgoing webhooks that the settings name, as an engine does."""
    if rindle.job_runner.outgoing:
        await rindle.job_runner.apply_settings(rindle.context.now())


async def run_jobs(rindle: RindleSync) -> int:
    """Apply stored webhook events, sweep, dispatch and deliver until nothing is due; how much.

    Outgoing webhooks are really sent, to the endpoints of `rindle.outgoing`. Raises what these
    raise, and `AssertionError` where work makes new work without an end.
    """
    await make_endpoint(rindle)
    try:
        return await _run_until_done(rindle)
    finally:
        # no connection outlives the event loop of the test
        await rindle.job_runner.close()


async def _run_until_done(rindle: RindleSync) -> int:
    total = 0
    for _ in range(MOST_ROUNDS):
        done = await rindle.process_webhook_events()
        done += (await rindle.sweep()).checked
        done += await rindle.dispatch()
        done += await rindle.deliver()
        if not done:
            return total
        total += done
    raise AssertionError(_NEVER_ENDS)


def run_jobs_blocking(rindle: BlockingRindle) -> int:
    """`run_jobs` for a service of `rindle_sync.integrations.blocking`."""
    rindle._call(make_endpoint)  # noqa: SLF001  nothing for apps
    total = 0
    for _ in range(MOST_ROUNDS):
        done = rindle.process_webhook_events()
        done += rindle.sweep().checked
        done += rindle.dispatch()
        done += rindle.deliver()
        if not done:
            return total
        total += done
    raise AssertionError(_NEVER_ENDS)
