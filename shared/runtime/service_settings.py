"""The numbers of each service: what it declares, unless `SHOP_<NAME>_…` says otherwise."""

import os
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.messaging.topology import Queue, Retry, Topology
from shared.runtime.service import AnyService
from shared.runtime.settings import Seconds, Settings, validated


class ServiceSettings(BaseSettings):
    """The numbers of one service, each `SHOP_<NAME>_` and its name in capitals.

    Attributes:
        retry_delay: seconds; the nth failure of a message waits n times as long.
        retry_max_delay: seconds that it waits at most.
        max_retries: attempts after the first.
        batch_size: deliveries in one transaction, at most.
        concurrency: deliveries handled at a time by a service that acts outside its database.
        deadline: seconds that a handler may take.
        from_history: begin with all that happened before the service was there.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True, frozen=True, extra="ignore")

    retry_delay: Annotated[float, Field(ge=0.001, le=86_400)]
    retry_max_delay: Annotated[float, Field(ge=0.001, le=86_400)]
    max_retries: Annotated[int, Field(ge=0, le=10_000)]
    batch_size: Annotated[int, Field(ge=1, le=2_000)]
    concurrency: Annotated[int, Field(ge=1, le=8)]
    deadline: Seconds
    from_history: bool = False

    @property
    def retry(self) -> Retry:
        """As the broker needs it."""
        return Retry(
            delay=self.retry_delay, max_delay=self.retry_max_delay, max_retries=self.max_retries
        )


def service_settings_of(service: AnyService) -> ServiceSettings:
    """The numbers of a service: what it declares, unless a variable says otherwise.

    Raises:
        InvalidInput: a variable has a wrong value; the sentence names it.
    """
    prefix = f"SHOP_{service.name.upper()}_"
    declared = {
        "retry_delay": service.retry.delay,
        "retry_max_delay": service.retry.max_delay,
        "max_retries": service.retry.max_retries,
        "batch_size": service.batch_size,
        "concurrency": service.concurrency,
        "deadline": service.deadline,
        "from_history": False,
    }
    set_here = {
        name: os.environ[prefix + name.upper()]
        for name in declared
        if prefix + name.upper() in os.environ
    }
    return validated(ServiceSettings, prefix, **(declared | set_here))


def queue_of(service: AnyService) -> Queue:
    """A service's queue, with the numbers that its settings say."""
    tuning = service_settings_of(service)
    return service.queue(retry=tuning.retry, deadline=tuning.deadline)


def topology(services: Sequence[AnyService], settings: Settings) -> Topology:
    """The topology of these services, with the numbers that their settings say."""
    return Topology(queues=tuple(queue_of(each) for each in services), history=settings.history)
