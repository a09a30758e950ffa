"""The tests of this folder run in `make acceptance`; a smoke of each lane is in `make test`."""

import pytest

SMOKE = {
    "test_a_process_that_is_killed_between_two_statements_leaves_nothing_behind[sqlite-sync]",
    "test_a_service_that_is_killed_again_and_again_loses_nothing[sqlite]",
    "test_a_history_is_a_function_of_its_seed",
    "test_no_law_is_broken[0-49]",
    "test_a_planted_fault_is_found[overwrite]",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/acceptance" in item.path.as_posix() and item.name not in SMOKE:
            item.add_marker(pytest.mark.acceptance)
