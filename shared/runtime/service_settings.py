"""The settings of one service: its declaration, changed by the variables `SHOP_<NAME>_…`."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from shared.messaging.topology import Queue, Retry, Topology
from shared.runtime.service import AnyService
from shared.runtime.settings import PREFIX, EnvironmentSettings, Seconds, Settings


class ServiceSettings(EnvironmentSettings):
    """The settings of one service; each is the variable `SHOP_<NAME>_` and its name in capitals.

    Attributes:
        retry_delay: seconds; the nth retry of a message waits n times as long.
        retry_max_delay: seconds that a retry waits at most.
        max_retries: attempts after the first.
        batch_size: deliveries in one transaction, at most.
        concurrency: deliveries that a service with a gateway handles at the same time.
        deadline: seconds that a handler may take.
        from_history: whether the service first handles all events that the history has.
    """

    retry_delay: Annotated[float, Field(ge=0.001, le=86_400)]
    retry_max_delay: Annotated[float, Field(ge=0.001, le=86_400)]
    max_retries: Annotated[int, Field(ge=0, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=2_000)]
    concurrency: Annotated[int, Field(ge=1, le=8)]
    deadline: Seconds
    from_history: bool = False

    @property
    def retry(self) -> Retry:
        """The retry policy of the service's queue."""
        return Retry(
            delay=self.retry_delay, max_delay=self.retry_max_delay, max_retries=self.max_retries
        )


def service_settings_of(service: AnyService) -> ServiceSettings:
    """Read the settings of a service.

    Raises:
        InvalidInput: a variable has a wrong value; the sentence names it.
    """
    return ServiceSettings.read(
        f"{PREFIX}{service.name.upper()}_",
        retry_delay=service.retry.delay,
        retry_max_delay=service.retry.max_delay,
        max_retries=service.retry.max_retries,
        batch_size=service.batch_size,
        concurrency=service.concurrency,
        deadline=service.deadline,
    )


def queue_of(service: AnyService) -> Queue:
    """The queue of a service, with the retry policy and deadline of its settings."""
    settings = service_settings_of(service)
    return service.queue(retry=settings.retry, deadline=settings.deadline)


def topology(services: Sequence[AnyService], settings: Settings) -> Topology:
    """The topology of these services, with the numbers of their settings."""
    return Topology(
        queues=tuple(queue_of(each) for each in services),
        has_users=settings.keys is not None and not settings.is_embedded,
        history=settings.history,
    )
