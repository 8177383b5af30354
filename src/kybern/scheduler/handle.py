"""What hooks that do I/O get for it."""

from dataclasses import dataclass

from kybern.client.events import Recorder
from kybern.client.verbs import Verbs
from kybern.scheduler.bind import Binder
from kybern.scheduler.extender import Extender


@dataclass(frozen=True, slots=True)
class Handle:
    """``binder`` writes what the scheduler itself has to say; everything else goes through ``client`` and ``recorder``."""

    binder: Binder
    extenders: tuple[Extender, ...] = ()

    @property
    def client(self) -> Verbs:
        return self.binder.client

    @property
    def recorder(self) -> Recorder:
        return self.binder.recorder
