"""What the loop asks of the part that knows the kernel's tables, whichever tables they are."""

from collections.abc import Sequence
from typing import Protocol

from kybern.proxy.model import ServicePort
from kybern.proxy.ruleset import Key


class Removable(Protocol):
    """What a proxy of before may have left."""

    async def remove(self) -> None:
        """Take all of it out again. Raises CannotApply, and Missing where there is no program that could have made it."""
        ...


class Backend(Removable, Protocol):
    """Rules by service, and the kernel they are written to.

    ``is_known`` tells whether the next ``apply`` sends changes only.
    """

    @property
    def is_known(self) -> bool: ...

    def settle(self, addresses: tuple[str, ...]) -> bool:
        """Take note of the node's addresses. True asks for every service again, since all rules may depend on them."""
        ...

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        """What is to be served of a service; nothing for one that is gone."""
        ...

    async def apply(self) -> int:
        """Make the kernel's rules as wanted; gives the number of lines sent. Raises CannotApply, and counts that."""
        ...

    def forget(self) -> None:
        """Let the next ``apply`` look at the kernel again and write all."""
        ...

    async def is_intact(self) -> bool:
        """Whether the kernel still has what is ours. Raises CannotApply."""
        ...
