"""Where the pages are that show exactly what a warning counts."""

from typing import Final
from urllib.parse import urlencode

from rindle_sync.diagnostics import Check, DoctorFinding

_PAGES: Final[dict[Check, tuple[str, dict[str, str], str]]] = {
    Check.OVERDUE: ("/rows", {"only": "due"}, "show the videos that are due"),
    Check.STUCK: ("/rows", {"kind": "stuck"}, "show the stuck videos"),
    Check.PENDING: ("/webhook-events", {"status": "pending"}, "show the waiting webhook events"),
    Check.DEAD: (
        "/webhook-events",
        {"status": "dead", "within": "day"},
        "show the dead webhook events",
    ),
    Check.LOST: ("/changes", {"webhook": "missed"}, "show the changes without a webhook"),
}
"""By what is checked: the page, its query, and what a link to it says.

What is not here counts nothing that is listed: the engine, the circuit, the audit, times of tables.
"""


def link_of(finding: DoctorFinding) -> tuple[str, str] | None:
    """The address of the page for a finding, and the text of a link to it."""
    if finding.check not in _PAGES or finding.environment is None:
        return None
    path, query, text = _PAGES[finding.check]
    return f"{path}?{urlencode({'environment': finding.environment, **query})}", text
