"""Each service of the registry, and one that exists only here, with its user at the broker.

The one that exists only here stands for all that will be added: what holds for every service here
holds for them too.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import ClassVar, NamedTuple
from uuid import uuid4

from shared.events import DomainEvent, OrderPlaced
from shared.messaging.rabbitmq import RabbitBroker, grant
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Topology
from shared.runtime.service import AnyService, Service
from shared.runtime.settings import OPERATOR
from shop import registry
from tests.containers import RabbitServer, Vhost
from tests.support.counting import CountStore, Work

PASSWORD = "matrix/password@%"  # noqa: S105 - nobody's


class SampleMade(DomainEvent):
    """A sample was made."""

    topic: ClassVar[str] = "sample.made"
    publishers = frozenset({"made_up"})

    name: str = "sample"


def make_sample(event: OrderPlaced, work: Work) -> None:
    work.publish(SampleMade(name=event.order_id))


def made_up() -> AnyService:
    """A service that somebody may add, with a contract of its own."""
    service: AnyService = Service("made_up", store=CountStore, publishes=(SampleMade,))
    service.on(OrderPlaced, make_sample)
    return service


SERVICES = {each.name: each for each in (*registry.all_services(), made_up())}
QUEUES = {name: each.queue() for name, each in SERVICES.items()}
TOPOLOGY = Topology(queues=tuple(QUEUES.values()), has_users=True)

CONTRACTS = sorted(
    {each for service in SERVICES.values() for each in service.publishes},
    key=lambda contract: contract.topic,
)
"""All types of events, as the services declare them."""

TOPICS = sorted({each.topic for each in CONTRACTS})


class Granted(NamedTuple):
    """The broker after set-up, as its users find it."""

    vhost: Vhost

    def url(self, user: str) -> str:
        return self.vhost.as_user(user, PASSWORD)

    def grant(self, *history_readers: str) -> None:
        grant(
            self.vhost.admin_url,
            TOPOLOGY,
            dict.fromkeys((*QUEUES, OPERATOR), PASSWORD),
            operator=OPERATOR,
            history_readers=history_readers,
            vhost=self.vhost.name,
        )

    def management(self, user: str) -> Management:
        server = self.vhost.admin_url.rpartition("@")[2]
        login = self.url(user).partition("://")[2].rpartition("@")[0]
        return Management(f"http://{login}@{server}")


@contextmanager
def granted(server: RabbitServer) -> Iterator[Granted]:
    """A virtual host that is set up for the services, each with its user, during the block."""
    name = f"test/{uuid4().hex[:12]}"
    management = Management(server.admin_url)
    management.put("vhosts", name)
    vhost = Vhost(server.amqp_url(name), server.admin_url, name)
    with closing(RabbitBroker(vhost.amqp_url, admin_url=vhost.admin_url)) as admin:
        assert admin.set_up(TOPOLOGY) == []
    broker = Granted(vhost)
    broker.grant()
    yield broker
    for user in (*QUEUES, OPERATOR):
        management.delete("users", user)
    management.delete("vhosts", name)
