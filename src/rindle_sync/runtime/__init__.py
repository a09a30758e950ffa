"""Runs due jobs again and again, in this process or by Procrastinate or Celery, and tells the app of changes."""

from rindle_sync.runtime.dispatch import BATCH, Callback, ChangeEvent, dispatch
from rindle_sync.runtime.engines.base import Distributed
from rindle_sync.runtime.heartbeat import last_tick, tick_key
from rindle_sync.runtime.job_runner import JobRunner
from rindle_sync.runtime.run import celery, extra, procrastinate, ready, run
