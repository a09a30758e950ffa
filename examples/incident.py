"""Three incidents of a running service, and what alerts, `status`, `doctor` and the console say.

A webhook secret that is rotated at the provider only, a revoked token, and a provider that is
down: against the emulator, with the unchanged alerts of ops/prometheus/rules.yml, so it takes
about an hour and a quarter. It needs `prometheus` on the PATH. Run it in a checkout:
`.venv/bin/python examples/incident.py > incident.md`.
"""

import asyncio
import contextlib
import html
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import uvicorn

from rindle_sync import connect
from rindle_sync.config import plain_settings
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life

RULES = Path(__file__).parents[1] / "ops/prometheus/rules.yml"
OLD, NEW = "the-secret-before-the-rotation", "the-secret-after-the-rotation"
EVERY = 3.0
"""Seconds between two videos."""
GLANCE = 5.0
"""Seconds between two reads of the firing alerts."""


@dataclass
class Stage:
    """The provider, the service and Prometheus, each on a port of this machine."""

    folder: Path
    emulator: MuxEmulator
    provider_port: int
    secrets: str = OLD
    others: dict[str, str] = field(default_factory=dict)
    """More settings."""
    every: str = "5s"
    """How often Prometheus reads the metrics and evaluates the rules."""
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(3)])
    service: asyncio.subprocess.Process | None = None
    firing: set[str] = field(default_factory=set)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the service."""
        webhooks, console, _ = self.ports
        return {
            "database_url": f"sqlite:///{self.folder}/videos.sqlite3",
            "mux_base_url": f"http://127.0.0.1:{self.provider_port}",
            "mux_token_id": self.emulator.token_id,
            "mux_token_secret": self.emulator.token_secret,
            "mux_webhook_secrets": self.secrets,
            "listen_port": str(webhooks),
            "console_port": str(console),
            **self.others,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, and output without colours."""
        settings = {f"RINDLE_{name}".upper(): value for name, value in self.settings.items()}
        return os.environ | {"NO_COLOR": "1", "COLUMNS": "140"} | settings

    async def start(self) -> None:
        """Start the service, or restart it with the current settings."""
        await self.stop()
        with (self.folder / "service.log").open("ab") as log:
            command = [sys.executable, "-m", "rindle_sync", "run"]
            self.service = await asyncio.create_subprocess_exec(
                *command, env=self.environment, stdout=log, stderr=log
            )
        await self.answers(self.ports[1])

    async def stop(self) -> None:
        """Stop the service."""
        if self.service:
            self.service.terminate()
            await self.service.wait()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Prometheus with the shipped rules."""
        _, console, own = self.ports
        (self.folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {self.every}, evaluation_interval: {self.every}}}\n"
            f"rule_files: [{RULES}]\n"
            "scrape_configs:\n"
            "  - job_name: rindle-sync\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{console}']}}]\n"
        )
        process = await asyncio.create_subprocess_exec(
            shutil.which("prometheus") or sys.exit("install prometheus first"),
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{own}",
            "--log.level=error",
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await self.answers(own)
            yield
        finally:
            process.terminate()
            await process.wait()

    async def answers(self, port: int) -> None:
        """Wait until something answers at `port`."""
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            await asyncio.sleep(0.1)
        sys.exit(f"nothing answers at port {port}")

    async def alerts(self) -> set[str]:
        """The alerts that fire, with their reasons."""
        text = await asyncio.to_thread(get, f"http://127.0.0.1:{self.ports[2]}/api/v1/alerts")
        names = set()
        for alert in json.loads(text)["data"]["alerts"]:
            name, reason = alert["labels"]["alertname"], alert["labels"].get("reason")
            if alert["state"] == "firing":
                names.add(f"{name} ({reason})" if reason else name)
        return names

    async def watch(self, wanted: set[str], unwanted: set[str], most: float) -> None:
        """Print which alerts begin and end, until the `wanted` ones fire and the `unwanted` do not.

        Ends after `most` minutes.
        """
        began = time.monotonic()
        while (minutes := (time.monotonic() - began) / 60) < most:
            before, self.firing = self.firing, await self.alerts()
            for name in sorted(self.firing ^ before):
                verb = "fires" if name in self.firing else "ends"
                print(f"- after {minutes:.1f} min: {name} {verb}", flush=True)
            if wanted <= self.firing and not unwanted & self.firing:
                break
            await asyncio.sleep(GLANCE)

    async def say(self, command: str) -> None:
        """Print the output of a command."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rindle_sync", *command.split(),
            env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        lines = [
            line
            for line in out.decode().splitlines()
            if command == "status" or not line.startswith("ok")
        ]
        print(f"\n```console\n$ rindle-sync {command}", *lines, "```", sep="\n", flush=True)

    async def say_all(self) -> None:
        """Print the alerts, `status`, `doctor` and the console as they are now."""
        print("\nAlerts:", ", ".join(sorted(await self.alerts())) or "none")
        await self.say("status")
        await self.say("doctor --ping")
        text = await asyncio.to_thread(get, f"http://127.0.0.1:{self.ports[1]}/")
        title, health = re.findall(
            r"<h1>.*?</h1>|<section aria-label=\"Health\".*?</section>", text, re.DOTALL
        )[:2]
        words = [
            html.unescape(" ".join(re.sub(r"<[^>]+>", " ", part).split()))
            for part in (title, health)
        ]
        print("\nThe console:", " ".join(f"**{words[0]}** {words[1]}".split()), flush=True)


async def main() -> None:
    """Run all three incidents."""
    emulator = MuxEmulator()
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory() as folder, serving(emulator) as port:
        stage = Stage(Path(folder), emulator, port)
        await stage.say("migrate")
        await stage.start()
        async with stage.watched(), asyncio.TaskGroup() as group:
            group.create_task(emulator.run_webhooks(stop, every=0.5))
            group.create_task(upload(stage, stop))
            await play(stage)
            stop.set()
        await stage.stop()


async def play(stage: Stage) -> None:
    """The incidents, and how each is fixed."""
    hook = f"http://127.0.0.1:{stage.ports[0]}/webhooks/mux"
    stage.emulator.add_webhook(hook, OLD)
    print("\n## All is well\n")
    await asyncio.sleep(12 * 60)
    await stage.say_all()
    await rotate_the_secret(stage, hook)
    print("\n## The token is revoked\n")
    await break_calls(stage, "unauthorized", "refused")
    print("\n## The provider is down\n")
    stage.emulator.clear_webhooks()
    await break_calls(stage, "bad_gateway", "unreachable")
    stage.emulator.add_webhook(hook, NEW)
    await stage.say_all()


async def rotate_the_secret(stage: Stage, hook: str) -> None:
    """The provider signs with a secret that the settings do not have."""
    print("\n## The webhook secret is rotated at the provider, but not in the settings\n")
    rejected = "RindleSyncWebhooksRejected (signature_mismatch)"
    stage.emulator.clear_webhooks()
    stage.emulator.add_webhook(hook, NEW)
    await stage.watch({rejected, "RindleSyncWebhooksLost"}, set(), 45)
    await stage.say_all()
    print("\nFixed: both secrets in `mux_webhook_secrets`, and a restart.\n")
    stage.secrets = f"{OLD},{NEW}"
    await stage.start()
    await stage.watch(set(), {rejected}, 20)


async def break_calls(stage: Stage, fault: str, reason: str) -> None:
    """Every call to the provider meets a fault, until the circuit breaker is open."""
    is_open = f"RindleSyncCircuitOpen ({reason})"
    rule = stage.emulator.add_fault(fault)
    await stage.watch({is_open}, set(), 20)
    await stage.say_all()
    print("\nFixed: the provider answers again.\n")
    stage.emulator.remove_fault(rule)
    await stage.watch(set(), {is_open}, 15)


async def upload(stage: Stage, stop: asyncio.Event) -> None:
    """The app: a new video every few seconds, which is ready some time later."""
    chance, number = Random(1), 0
    async with connect(plain_settings(**stage.settings)) as rindle:
        while not stop.is_set():
            number += 1
            asset_id = stage.emulator.create_asset(life=Life(after=chance.uniform(5, 120)))
            await rindle.track(reference=f"video-{number}", provider_asset_id=asset_id)
            await asyncio.sleep(EVERY)


@contextlib.contextmanager
def serving(emulator: MuxEmulator) -> Iterator[int]:
    """The emulator on a port, in a thread."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(emulator.app, port=port, log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


def free_port() -> int:
    """A free port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def get(url: str) -> str:
    """The body of a response."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    asyncio.run(main())
