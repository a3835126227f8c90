"""Prints the steps of the demo and the results of deliveries."""

import threading

from rich.console import Console
from rich.text import Text

from shared.events import topic_of
from shared.runtime.colours import style_of
from shared.runtime.reactor import DeliveryResult


class Narrator:
    """Prints each step of the demo and one line for each delivery. Thread-safe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def headline(self, sentence: str) -> None:
        """Print the next step."""
        self._print(Text(f"\n{sentence}", "bold"))

    def output(self, line: str) -> None:
        """Print a line of a command's output."""
        self._print(Text(f"  {line}"))

    def on_delivery(self, service: str, result: DeliveryResult) -> None:
        """Print the result of a delivery, except those of analytics, which counts every event."""
        if service == "analytics" or result.event is None or result.duplicate:
            return
        line = Text("  ")
        line.append(f"{service:<10}", style_of(service))
        line.append(f"{result.event.topic:<17}", "dim")
        attempt = result.delivery.attempt
        if result.error is not None:
            state = "dead letter" if result.is_dead else f"attempt {attempt}"
            line.append(f"✗ {result.error} ({state})", "red")
        else:
            line.append(", ".join(result.notes) or "handled")
            if attempt > 1:
                line.append(f" (attempt {attempt})", "bold green")
        for event_type in result.published:
            line.append(f"  → {topic_of(event_type)}", "bold")
        self._print(line)

    def _print(self, line: Text) -> None:
        with self._lock:
            self._console.print(line)
