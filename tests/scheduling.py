"""How the tests are distributed over the workers of pytest-xdist."""

from xdist.scheduler import LoadScopeScheduling

GROUPS = {
    # One system started by Docker Compose.
    "tests/acceptance/test_compose.py": "compose",
    "tests/security/test_composition.py": "compose",
    # A copy of the project that takes seconds to make.
    "tests/acceptance/test_new_consumer.py": "checkout",
    # A broker that tests may kill.
    "tests/integration/test_rabbitmq_traps.py": "broker",
    # Users of the shared broker with fixed names.
    "tests/integration/test_rabbitmq_permissions.py": "users",
    "tests/security/test_forged_events.py": "users",
    "tests/integration/test_rabbitmq_bindings.py": "users",
    "tests/integration/test_setup_grants.py": "users",
    "tests/security/test_permission_matrix.py": "users",
    "tests/security/test_forgery_matrix.py": "users",
    # `shared.storage.roles.grant` twice at once on the shared database server would conflict.
    "tests/integration/test_access.py": "roles",
    "tests/chaos/test_crash_points.py::test_the_shop_on_servers": "roles",
    # Servers and processes enough to keep a machine busy.
    "tests/chaos/test_chaos.py": "chaos",
    "tests/chaos/test_restarts.py": "chaos",
}
"""Groups by the beginning of their tests' ids; each group runs on one worker, in order."""


class GroupScheduling(LoadScopeScheduling):
    """Distributes tests one by one, and the tests of a group together.

    xdist's own groups need `--dist loadgroup`, which has no effect with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        groups = (group for prefix, group in GROUPS.items() if nodeid.startswith(prefix))
        return next(groups, nodeid)
