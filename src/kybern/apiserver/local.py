"""The server's own writes: through the same verbs as a client's, without the way over the network."""

from collections.abc import Mapping

from kybern.apiserver.engine import Call, Engine
from kybern.apiserver.generic import apply as apply_
from kybern.apiserver.generic import create, delete, update
from kybern.apiserver.options import DeleteOptions, WriteOptions
from kybern.auth.user import MASTERS, User
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema
from kybern.storage.value import decoded, encoded

SERVER = User("system:apiserver", (MASTERS,))


class Local:
    """Reads and writes of one server as itself."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def call(self, kind: Kind, namespace: str, name: str, query: Mapping[str, str] | None = None) -> Call:
        return Call(self.engine, kind, SERVER, namespace, name, query=query or {}, options=WriteOptions())

    def _kind(self, group: str, plural: str) -> Kind:
        kind = self.engine.table.kind(group, plural)
        if kind is None:
            raise LookupError(f"no kind {plural} in group {group!r}")
        return kind

    def _body(self, kind: Kind, raw: Raw) -> Raw:
        Schema.load().of(kind.schema).decode(raw, strict=False)
        kind.rules.default(raw)
        return raw

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        return await self.engine.lookup.get_live(group, plural, namespace, name)

    async def create(self, group: str, plural: str, raw: Raw) -> Raw:
        kind = self._kind(group, plural)
        call = self.call(kind, raw["metadata"].get("namespace", ""), "")
        return decoded((await create.create(call, self._body(kind, raw))).body)

    async def update(self, group: str, plural: str, raw: Raw, subresource: str = "") -> Raw:
        kind = self._kind(group, plural)
        metadata = raw["metadata"]
        call = self.call(kind, metadata.get("namespace", ""), metadata["name"])
        call.subresource = subresource
        return decoded((await update.update(call, self._body(kind, raw))).body)

    async def apply(self, group: str, plural: str, raw: Raw, manager: str, subresource: str = "") -> Raw:
        """Server-side apply, by force: what the server says of an object is its own."""
        metadata = raw["metadata"]
        call = self.call(self._kind(group, plural), metadata.get("namespace", ""), metadata["name"])
        call.options = WriteOptions(manager=manager, force=True)
        call.subresource = subresource
        return decoded((await apply_.apply_(call, encoded(raw))).body)

    async def delete(self, group: str, plural: str, namespace: str, name: str) -> None:
        await delete.delete(self.call(self._kind(group, plural), namespace, name), DeleteOptions())
