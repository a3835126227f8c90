"""Looks for known vulnerabilities of the locked packages: `python -m deploy.audit`.

pip-audit asks an advisory database about each version in `requirements.txt`. Its options can be
given too, such as `--vulnerability-service osv`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.errors import OperationFailed

LOCK = Path(__file__).parents[1] / "requirements.txt"


def main() -> None:
    """Print the vulnerabilities; exit with 1 if there is one, or if it could not be found out."""
    try:
        found = list(vulnerabilities(LOCK, sys.argv[1:]))
    except OperationFailed as error:
        raise SystemExit(str(error)) from error
    sys.stdout.writelines(f"{sentence}\n" for sentence in found)
    if found:
        raise SystemExit(1)
    sys.stdout.write("no locked package has a known vulnerability\n")


def vulnerabilities(lock: Path, options: Sequence[str]) -> Iterator[str]:
    """Ask the advisory database about each package of a lock file.

    Args:
        lock: the file; each package with its version and hashes.
        options: more options of pip-audit.

    Yields:
        A sentence for each vulnerability.

    Raises:
        OperationFailed: the database did not answer for every package.
    """
    files = ("--requirement", str(lock), "--require-hashes", "--disable-pip")
    output = ("--format", "json", "--progress-spinner", "off")
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "pip_audit", *files, *output, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        reason = done.stderr.strip().splitlines()[-1:]
        raise OperationFailed(f"could not audit the packages: {' '.join(reason)}")
    for package in json.loads(done.stdout)["dependencies"]:
        if "skip_reason" in package:
            raise OperationFailed(f"could not audit {package['name']}: {package['skip_reason']}")
        for each in package["vulns"]:
            fixed = ", ".join(each["fix_versions"]) or "no version"
            yield f"{package['name']} {package['version']}: {each['id']}, fixed in {fixed}"


if __name__ == "__main__":
    main()
