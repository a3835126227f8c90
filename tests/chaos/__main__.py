"""`python -m tests.chaos`: runs the chaos test; prints its timeline and totals."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import EMBEDDED, ON_SERVERS, as_markdown, chaos, print_out

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- report: begin -->\n", "<!-- report: end -->\n"


def main() -> int:
    """Run the chaos test; return 0 if every invariant holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="may be given several times")
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="how long faults go on, for each seed"
    )
    parser.add_argument("--short", action="store_true", help="one fault of each family, once")
    parser.add_argument(
        "--embedded", action="store_true", help="without servers, where only neighbours are faulty"
    )
    parser.add_argument(
        "--renew", action="store_true", help="write the report into docs/reliability.md"
    )
    arguments = parser.parse_args()
    reports = []
    for seed in arguments.seed or [1]:
        home = Path(tempfile.mkdtemp(prefix="past-tense-chaos-"))
        _say(f"seed {seed}; logs in {home}")
        seconds = None if arguments.short else arguments.seconds
        setting = EMBEDDED if arguments.embedded else ON_SERVERS
        reports.append(chaos(home, seed=seed, seconds=seconds, say=_say, setting=setting))
        print_out(reports[-1])
    if arguments.renew:
        renew(DOCUMENT, "\n\n".join(map(as_markdown, reports)))
    return 0 if all(each.succeeded for each in reports) else 1


def renew(document: Path, block: str) -> None:
    """Replace what is between the document's markers by the block."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{block}\n\n{END}{after}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
