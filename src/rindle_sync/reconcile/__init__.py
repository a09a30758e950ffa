"""Brings rows in sync: fetch, decide, compare-and-swap, emit."""

from rindle_sync.reconcile.acting import DONE, act, act_outside, record, record_afterwards
from rindle_sync.reconcile.apply import TRIES, Applied, Observed, apply, commit, preview
from rindle_sync.reconcile.audit import ENOUGH_ALIVE, Drift, Note, Report, audit
from rindle_sync.reconcile.audit_time import AUDIT, audited_before, is_audit_due
from rindle_sync.reconcile.backfill import BACKFILL, Filled, backfill
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.full_scan import LEASE
from rindle_sync.reconcile.list_pages import ROWS_FOR_A_PAGE_IN_VAIN
from rindle_sync.reconcile.new_row import TEXTS, check_text, new_row
from rindle_sync.reconcile.page_planner import (
    LIST_RESTS,
    MOST_BOOKMARKS,
    Bookmark,
    ListIndex,
    PageCandidate,
    Stake,
    next_page,
    pays,
    standing_on,
)
from rindle_sync.reconcile.pipeline import end_task
from rindle_sync.reconcile.sweep import SURVEY, check_first, sweep
from rindle_sync.reconcile.sweep_run import SWEEP, SWEEP_LEASE, CallAllowance, SweepResult
from rindle_sync.reconcile.sync import sync, sync_row
