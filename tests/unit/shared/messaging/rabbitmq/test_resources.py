"""What `shortages` says of the answers that the management API gives."""

from typing import Any

import pytest

from shared.messaging.rabbitmq.resources import shortages

MB = 1_000_000
NODE = {
    "name": "rabbit@one",
    "running": True,
    "mem_used": 100 * MB,
    "mem_limit": 600 * MB,
    "mem_alarm": False,
    "disk_free": 9_000 * MB,
    "disk_free_limit": 500 * MB,
    "disk_free_alarm": False,
}


class FakeManagement:
    """Answers with these nodes, alarms and connections."""

    def __init__(
        self, node: dict[str, Any], alarms: list[Any] | None = None, states: str = ""
    ) -> None:
        self._node = NODE | node
        self._alarms = {"status": "failed", "alarms": alarms} if alarms else {"status": "ok"}
        self._states = states.split()

    def get(self, *path: str, columns: str = "") -> Any:
        if path == ("nodes",):
            return [self._node]
        assert (path, columns) == (("connections",), "user,state")
        return [{"user": f"user-{state}", "state": state} for state in self._states]

    def check(self, name: str) -> Any:
        assert name == "alarms"
        return self._alarms


def said(**found: Any) -> list[str]:
    management: Any = FakeManagement(found.pop("node", {}), **found)
    return list(shortages(management))


def test_a_broker_with_enough_of_everything_lacks_nothing() -> None:
    assert said(states="running flow") == []


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        pytest.param(
            {"alarms": [{"node": "rabbit@two", "resource": "memory"}]},
            "the memory alarm of the node rabbit@two stands, so the broker accepts no events: "
            "find what fills it",
            id="memory-alarm",
        ),
        pytest.param(
            {
                "alarms": [{"node": "rabbit@one", "resource": "disk space"}],
                "node": {"disk_free": MB, "disk_free_alarm": True},
            },
            "the disk alarm of the node rabbit@one stands, so the broker accepts no events: "
            "free space on the broker's disk",
            id="disk-alarm",
        ),
        pytest.param(
            {"node": {"mem_alarm": True, "mem_used": 700 * MB}},
            "the memory alarm of the node rabbit@one stands",
            id="flag-of-the-node",
        ),
        pytest.param(
            {"alarms": [{"node": "rabbit@one", "resource": "file_descriptor_limit"}]},
            "the file_descriptor_limit alarm of the node rabbit@one stands, so the broker accepts "
            "no events: see the broker's log",
            id="another-alarm",
        ),
        pytest.param(
            {"node": {"mem_used": 541 * MB}},
            "the node rabbit@one uses 90% of the memory at which the broker accepts no more events "
            "(600 MB): find what fills it",
            id="memory",
        ),
        pytest.param(
            {"node": {"disk_free": 999 * MB}},
            "the node rabbit@one has 999 MB of disk left, and at 500 MB the broker accepts no more "
            "events: free space",
            id="disk",
        ),
        pytest.param(
            {"node": {"running": False}}, "the node rabbit@one does not run: start it", id="stopped"
        ),
        pytest.param(
            {"states": "running blocked blocking"},
            "the broker blocks 2 connections of user-blocked, user-blocking: remove the cause",
            id="blocked",
        ),
    ],
)
def test_each_shortage_is_one_sentence_that_says_what_to_do(
    found: dict[str, Any], sentence: str
) -> None:
    [only] = said(**found)

    assert only.startswith(sentence)


def test_figures_that_the_broker_does_not_know_are_no_shortage() -> None:
    unknown = {"mem_limit": "infinity", "disk_free": "NaN", "mem_used": "NaN"}

    assert said(node=unknown) == []
