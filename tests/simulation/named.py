"""Clients that say who writes, for the detector of fights."""

from typing import override

from kybern.client.verbs import Verbs
from tests.simulation.fights import WRITER
from tests.simulation.through import Asked, Through


class Named(Through):
    """The client of one writer."""

    def __init__(self, api: Verbs, name: str) -> None:
        super().__init__(api)
        self._name = name

    @override
    async def answer(self, asked: Asked) -> bytes:
        token = WRITER.set(self._name)
        try:
            return await super().answer(asked)
        finally:
            WRITER.reset(token)
