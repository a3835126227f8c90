"""Lists the packages of the image and their licences: `python -m deploy.sbom`.

It writes `sbom.json`, a CycloneDX document, and the table of licences in `docs/supply-chain.md`.
The packages are those that `requirements.txt` locks, and the environment must have installed
exactly these versions.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.errors import OperationFailed

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "supply-chain.md"

ALLOWED_LICENCES = frozenset(
    {
        *("MIT", "BSD-2-Clause", "BSD-3-Clause", "BSD License", "Apache-2.0", "ISC", "PSF-2.0"),
        *("ZPL-2.1", "Zope Public License"),
        "MPL-2.0",  # asks for the source of changed files of the package; none is changed
        "LGPL-3.0-only",  # the same, for a library that is used as it is and can be replaced
    }
)

_TABLE = re.compile(r"(<!-- licences -->\n).*?(<!-- /licences -->)", re.DOTALL)


def main() -> None:
    """Write both; exit with 1 if a licence is not allowed or a version is not the locked one."""
    try:
        document = sbom(*((ROOT / f"requirements.{end}").read_text() for end in ("in", "txt")))
        licences = licences_of(document)
        require_allowed(licences)
    except OperationFailed as error:
        raise SystemExit(str(error)) from error
    (ROOT / "sbom.json").write_text(json.dumps(document, indent=2) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), licences))


def sbom(direct: str, lock: str) -> dict[str, Any]:
    """Describe the packages of a lock file as a CycloneDX document.

    Args:
        direct: the requirements of the project itself.
        lock: all packages, each with its version.

    Raises:
        OperationFailed: this environment has another version of a package, or lacks it.
    """
    locked = {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in _requirements(lock)
    }
    document = _describe_environment()
    installed = {canonicalize_name(each["name"]): each for each in document["components"]}
    for name, version in locked.items():
        found = installed[name]["version"] if name in installed else "no version"
        if found != version:
            raise OperationFailed(f"{name} {version} is locked, {found} is installed: make setup")
    document["components"] = [installed[name] for name in locked]
    kept = {each["bom-ref"] for each in document["components"]}
    needed = [installed[canonicalize_name(each.name)] for each in _requirements(direct)]
    root = {
        "ref": document["metadata"]["component"]["bom-ref"],
        "dependsOn": [each["bom-ref"] for each in needed],
    }
    document["dependencies"] = [root] + [
        {"ref": each["ref"], "dependsOn": sorted(kept.intersection(each.get("dependsOn", ())))}
        for each in document["dependencies"]
        if each["ref"] in kept
    ]
    return document


def licences_of(document: dict[str, Any]) -> dict[str, str]:
    """The licence of each package: an SPDX expression, or a name if the package declares none."""
    return {each["name"]: _licence(each.get("licenses", [])) for each in document["components"]}


def require_allowed(licences: dict[str, str]) -> None:
    """Check each licence against those that this project may be distributed with.

    Raises:
        OperationFailed: one is unknown or not allowed; the message names the packages.
    """
    refused = [
        f"{name} ({licence or 'unknown'})"
        for name, licence in licences.items()
        if not set(re.split(" AND | OR ", licence)) <= ALLOWED_LICENCES
    ]
    if refused:
        raise OperationFailed(f"licences that are not allowed: {', '.join(refused)}")


def with_table(page: str, licences: dict[str, str]) -> str:
    """The page with this table of licences instead of its own."""
    rows = "".join(f"| {name} | {licence} |\n" for name, licence in licences.items())
    table = f"| package | licence |\n|---|---|\n{rows}"
    return _TABLE.sub(lambda found: f"{found[1]}{table}{found[2]}", page)


def _licence(declared: list[Any]) -> str:
    spdx = [each.get("expression") or each["license"].get("id") for each in declared]
    names = [each.get("license", {}).get("name", "") for each in declared]
    found = " AND ".join(filter(None, spdx)) or " AND ".join(filter(None, names))
    return found.removeprefix("License :: OSI Approved :: ")


def _requirements(text: str) -> Iterator[Requirement]:
    """The requirements of a file that apply to this platform."""
    for line in re.findall(r"^[a-zA-Z0-9][^#\\\n]*", text, re.MULTILINE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def _describe_environment() -> dict[str, Any]:
    options = ("--pyproject", "pyproject.toml", "--output-reproducible", "--no-validate")
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "cyclonedx_py", "environment", *options, sys.executable],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # warnings about packages that are not in the image
        text=True,
        check=True,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


if __name__ == "__main__":
    main()
