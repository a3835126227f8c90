"""Makes the program `shop` of a virtual environment, without building a package: `make demo`.

Run it with the environment's Python. It needs no package, in particular no setuptools.
"""

import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """\
#!/bin/sh
exec "$(dirname "$0")/python" -m shop.cli "$@"
"""


def main() -> None:
    """Add the checkout to the environment's import path, and write `bin/shop`."""
    (Path(sysconfig.get_path("purelib")) / "past_tense.pth").write_text(f"{ROOT}\n", "utf-8")
    program = Path(sysconfig.get_path("scripts")) / "shop"
    program.write_text(PROGRAM, "utf-8")
    program.chmod(0o755)


if __name__ == "__main__":
    main()
