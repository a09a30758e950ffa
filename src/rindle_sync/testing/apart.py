"""Async work for sync code, in an event loop of its own that ends with it."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def run_apart(work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, done in a thread: a loop may be running in this one."""
    done: Future[T] = Future()

    async def call() -> T:
        return await work()

    def run() -> None:
        try:
            done.set_result(asyncio.run(call()))
        except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
            done.set_exception(error)

    thread = Thread(target=run, name="rindle-sync-testing", daemon=True)
    thread.start()
    thread.join()
    return done.result()
