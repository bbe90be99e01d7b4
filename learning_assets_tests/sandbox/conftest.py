"""One Graph server for the tests of a module, with its clock and faults set back before each."""

from collections.abc import Iterator

import pytest

from learning_assets.sandbox.control import Control
from learning_assets.sandbox.process import start
from learning_assets_tests.sandbox.graph_client import MARKET, NOW, Client


@pytest.fixture(scope="module")
def running() -> Iterator[Control]:
    """A server of its own."""
    with start(MARKET, now=NOW) as control:
        yield control


@pytest.fixture
def control(running: Control) -> Control:
    """The server, as it was at the start but for budgets."""
    running.clear()
    running.clear_requests()
    running.limit(quota=10_000_000, report_polls=1)
    running.step(NOW)
    return running


@pytest.fixture
def client(control: Control) -> Client:
    """A plain client of it."""
    return Client(control)
