"""What may import what, so that a service can be changed, or replaced, without any other knowing.

Read from the source, not by importing: imports inside functions count, those for types alone not.
"""

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from typer.main import get_command

from shared.runtime.service import Service
from shop import registry
from shop.cli import app

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("services", "shared", "shop")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
SERVICES = tuple(
    path.name for path in sorted((ROOT / "services").iterdir()) if (path / "__init__.py").exists()
)

FOUNDATION = frozenset(
    {
        "shared.clocks",
        "shared.exhaustion",
        "shared.private_files",
        "shared.server_urls",
        "shared.sqlite_locking",
        "shared.stack_frames",
        "shared.tls",
    }
)
"""Modules that know nothing of the system, for messaging and storage."""

MAY_IMPORT = {
    "shared.errors": set[str](),
    "shared.clocks": set[str](),
    "shared.exhaustion": set[str](),
    "shared.private_files": set[str](),
    "shared.server_urls": set[str](),
    "shared.sqlite_locking": set[str](),
    "shared.stack_frames": set[str](),
    "shared.tls": set[str](),
    "shared.events": set[str](),
    "shared.messaging": {"shared.events", *FOUNDATION},
    "shared.storage": {
        "shared.events",
        "shared.messaging.codec",
        "shared.messaging.identity",
        *FOUNDATION,
    },
    "shared.history": {"shared.storage", "shared.messaging", "shared.events"},
    "shared.runtime": {
        "shared.history",
        "shared.storage",
        "shared.messaging",
        "shared.events",
        "shared.clocks",
        "shared.server_urls",
        "shared.stack_frames",
    },
    "shared.operations": {
        "shared.runtime",
        "shared.stack_frames",
        "shared.history",
        "shared.storage",
        "shared.messaging",
        "shared.events",
        "shared.clocks",
    },
    "shared.mail_addresses": {"shared.events"},
    "shared.testing": {"shared.runtime", "shared.storage", "shared.messaging", "shared.events"},
    "services": {"shared"},
    "shop": {"services", "shared"},
}
"""Packages, and what each may import besides itself and `shared.errors` and `shared.exhaustion`."""

SQL = {"sqlalchemy", "psycopg", "alembic"}
SQL_HOMES = ("shared.storage",)
SQL_PARTS = {"store", "tables", "migrations"}
SQL_EXCEPTIONS = {
    "services.analytics.report": "the half of its store that reads, in SQL of its own",
}


def imported(name: str) -> set[str]:
    """The absolute names that a module imports, also inside functions; not those for types."""
    tree = ast.parse(MODULES[name].read_text())
    return {found for node in _run(tree) for found in _named(node, name)}


def _run(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from _run(other)
            continue
        yield child
        yield from _run(child)


def _named(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{name} imports relatively"
        for each in node.names:
            inner = f"{node.module}.{each.name}"
            yield inner if inner in MODULES else str(node.module)


def imports_of_ours(name: str) -> set[str]:
    return imported(name) & MODULES.keys()


def imports_from_outside(name: str) -> set[str]:
    """Top-level names of libraries that are neither ours nor the standard library's."""
    tops = {each.partition(".")[0] for each in imported(name)}
    return tops - {"services", "shared", "shop"} - sys.stdlib_module_names


def test_what_is_read_here_is_the_whole_system() -> None:
    assert {"orders", "inventory", "email", "shipping", "analytics", "loyalty"} <= set(SERVICES)
    assert {"services.orders.store", "shared.messaging.rabbitmq", "shared.errors"} <= set(MODULES)


def test_imports_inside_functions_are_seen_and_those_for_types_are_not() -> None:
    found = imported("shared.operations.console")

    assert "shared.storage.migrating" in found
    assert "shared.runtime.service" not in found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_shared_and_itself_and_no_other_service(service: str) -> None:
    own = f"services.{service}"
    for name in MODULES:
        if name == own or name.startswith(f"{own}."):
            foreign = {
                each
                for each in imports_of_ours(name)
                if each.startswith("services.") and not f"{each}.".startswith(f"{own}.")
            }
            assert foreign == set(), f"{name} imports {foreign}"


@pytest.mark.parametrize("name", [name for name in MODULES if name != "shared"])
def test_a_module_imports_what_its_package_may(name: str) -> None:
    home = next(package for package in MAY_IMPORT if _lies_in(name, package))
    allowed = MAY_IMPORT[home] | {
        home,
        "shared.errors",
        "shared.exhaustion",
    }  # and `shared` itself: its version

    assert {
        each
        for each in imports_of_ours(name) - {"shared"}
        if not any(_lies_in(each, package) for package in allowed)
    } == set()


def _lies_in(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def test_contracts_import_pydantic_and_themselves_alone() -> None:
    for name in MODULES:
        if name.startswith("shared.events"):
            assert imports_from_outside(name) <= {"pydantic", "pydantic_core", "typing_extensions"}


@pytest.mark.parametrize("name", MODULES)
def test_a_printed_command_with_values_is_quoted_for_a_shell(name: str) -> None:
    names = "|".join(get_command(app).commands)  # type: ignore[attr-defined]  # it is a group
    written = re.compile(rf"\bshop ({names}) ([a-z-]+ )*$")
    found = [
        part.value
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.JoinedStr)
        for part, value in itertools.pairwise(node.values)
        if isinstance(part, ast.Constant) and isinstance(value, ast.FormattedValue)
        if written.search(str(part.value))
    ]

    assert found == [], "use shared.runtime.hints.command"


def test_only_the_rabbitmq_adapter_imports_pika() -> None:
    homes = {name for name in MODULES if "pika" in imports_from_outside(name)}

    assert homes
    assert {name for name in homes if not name.startswith("shared.messaging.rabbitmq.")} == set()


def test_only_storage_and_stores_import_a_database() -> None:
    users = {name for name in MODULES if SQL & imports_from_outside(name)}

    strangers = {name for name in users if not _may_use_sql(name)}

    assert strangers == SQL_EXCEPTIONS.keys()


def _may_use_sql(name: str) -> bool:
    parts = name.split(".")
    at_home = name.startswith(SQL_HOMES)
    return at_home or (parts[0] == "services" and len(parts) > 2 and parts[2] in SQL_PARTS)


def test_there_are_no_circles() -> None:
    graph = {name: imports_of_ours(name) - {name} for name in MODULES}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def test_nothing_at_the_top_shadows_the_standard_library() -> None:
    tops = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}

    assert tops & sys.stdlib_module_names == set()


def test_no_program_is_run_from_a_folder_that_shadows_the_standard_library() -> None:
    # Run by path, a program's own folder comes first in the search for modules; as a module
    # (python -m shop.cli) it does not. The folders here are those of programs.
    for folder in ("deploy", "benchmarks"):
        names = {path.stem for path in (ROOT / folder).glob("*.py")}
        assert names & sys.stdlib_module_names == set(), folder


def test_a_programs_entry_is_a_module_and_no_path() -> None:
    scripts = (ROOT / "pyproject.toml").read_text()

    assert 'shop = "shop.cli:main"' in scripts


@pytest.mark.parametrize("service", SERVICES)
def test_each_folder_declares_a_service_of_its_name(service: str) -> None:
    declared = registry.service(service)

    assert isinstance(declared, Service)
    assert declared.name == service
    assert declared.migrations.is_relative_to(ROOT / "services" / service)


def test_the_registry_knows_every_folder_orders_first() -> None:
    assert registry.names()[0] == "orders"
    assert set(registry.names()) == set(SERVICES)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[name].read_text()))


def test_no_two_classes_of_the_project_have_the_same_name() -> None:
    homes: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, set()).add(name)

    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
