"""The program beside the server that speaks to a key management service: gRPC on a unix socket, looked after for ever.

Its status is asked for every minute, and every ten seconds while it is not well. It names the key that values shall be
under: when that is another one than before, a new seed is made and sealed. While it is well, the seed may be written with
for three more minutes; so writes end at most that long after it went, and reads of what is known go on. These numbers are
upstream's (``apiserver/pkg/server/options/encryptionconfig``), and its how-to for rotating keys is built on them.
"""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kybern._proto import kms_pb2 as pb
from kybern.storage.encryption.kms import (
    SEED,
    Kms,
    ServiceFailed,
    State,
    key_hash,
    key_id_problem,
    source_problem,
)

log = logging.getLogger(__name__)

WELL, UNWELL = 60.0, 10.0
"""Seconds between two looks."""
REMEMBERED_WELL, REMEMBERED_UNWELL = 20.0, 3.0
"""Seconds for which what a look found is told without another one."""
WRITES_FOR = 180.0
VERSIONS = ("v2", "v2beta1")

type Timed = Callable[[str, str, float], None]
"""Told of each call: its method, the name of gRPC's status, and its seconds."""


class Unwell(Exception):
    """The plugin is not as it should be; the text is upstream's."""


def _untimed(_method: str, _status: str, _seconds: float) -> None:
    return


def _unseen(_key_id: str, _problem: str) -> None:
    return


@dataclass(slots=True)
class Plugin:
    """One plugin. ``named`` is told of each key that it names, and what is wrong with it if anything is."""

    kms: Kms
    timed: Timed = _untimed
    named: Callable[[str, str], None] = _unseen
    clock: Callable[[], float] = time.monotonic
    _channel: Any = field(default=None, init=False)
    _stub: Any = field(default=None, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _version: str = field(default="", init=False)
    _until: float = field(default=0.0, init=False)
    _problem: Unwell | None = field(default=None, init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Connect, look once, and go on looking."""
        # Imported here: servers without such a plugin do without gRPC, which takes megabytes.
        import grpc.aio  # noqa: PLC0415

        from kybern._proto import kms_pb2_grpc  # noqa: PLC0415

        path = self.kms.setting.endpoint.removeprefix("unix://")
        address = f"unix-abstract:{path[2:]}" if path.startswith("/@") else f"unix:{path}"
        options = [("grpc.default_authority", "localhost")]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._stub = kms_pb2_grpc.KeyManagementServiceStub(self._channel)
        self.kms.decrypt = self._decrypt
        well = await self._look()
        self._looking = asyncio.create_task(self._run(well=well), name=f"kms plugin {self.kms.setting.name}")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    async def _run(self, *, well: bool) -> None:
        while True:
            await asyncio.sleep(WELL if well else UNWELL)
            well = await self._look()

    async def _look(self) -> bool:
        try:
            await self.check()
        except Unwell as problem:
            log.warning("kms plugin %s failed health check probe: %s", self.kms.setting.name, problem)
            return False
        return True

    async def check(self) -> None:
        """Raises Unwell. What was found a moment ago is told again."""
        async with self._lock:
            if self.clock() < self._until:
                if self._problem is not None:
                    raise self._problem
                return
            self._problem = await self._found()
            self._until = self.clock() + (REMEMBERED_UNWELL if self._problem else REMEMBERED_WELL)
            if self._problem is not None:
                raise self._problem

    async def _found(self) -> Unwell | None:
        name = self.kms.setting.name
        # Before the call: the time that writes are allowed for is an upper bound.
        expires = self.kms.clock() + WRITES_FOR
        try:
            status = await self._call("Status", pb.StatusRequest())
        except ServiceFailed as problem:
            return Unwell(
                f"failed to perform status section of the healthz check for KMS Provider {name}, error: {problem}"
            )
        problems = self._wrong(status)
        if wrong := key_id_problem(status.key_id):
            self.named(status.key_id, "empty" if not status.key_id else "too_long")
            problems.append(f'got invalid KMSv2 KeyID hash "{key_hash(status.key_id)}": {wrong}')
        else:
            self.named(status.key_id, "")
            if wrong := await self._follow(status.key_id, expires):
                problems.append(wrong)
        if not problems:
            return None
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        return Unwell(f"kmsv2 Provider {name} is not healthy, error: {text}")

    def _wrong(self, status: Any) -> list[str]:
        found = []
        if status.healthz != "ok":
            found.append(f"got unexpected healthz status: {status.healthz}")
        if status.version not in VERSIONS:
            found.append(f"expected KMSv2 API version {VERSIONS[0]}, got {status.version}")
            return found
        self._version = self._version or status.version
        if status.version != self._version:
            found.append(
                "KMSv2 API version should not change after the initial status response version "
                f"{self._version}, got {status.version}"
            )
        return found

    async def _follow(self, key_id: str, expires: float) -> str:
        """Have values sealed under this key; what is wrong, if it cannot be."""
        state = self.kms.state
        if state is not None and state.key_id == key_id:
            self.kms.use(replace(state, expires=expires))
            return ""
        seed = os.urandom(SEED)
        uid = str(uuid.uuid4())
        why, given = "<nil>", ""
        try:
            made = await self._call("Encrypt", pb.EncryptRequest(plaintext=seed, uid=uid))
            given = made.key_id
            annotations = dict(made.annotations)
            wrong = key_id_problem(given)
            problem = (wrong and f"failed to validate key id: {wrong}") or source_problem(
                made.ciphertext, annotations
            )
            if problem:
                why = problem
            elif given == key_id:
                self.kms.use(State(seed, given, bytes(made.ciphertext), annotations, expires))
                log.info("kms plugin %s: values are sealed under another key now", self.kms.setting.name)
                return ""
        except ServiceFailed as problem:
            why = f"failed to encrypt DEK, error: {problem}"
        return (
            f'failed to rotate DEK uid="{uid}", errGen={why}, statusKeyIDHash="{key_hash(key_id)}", '
            f'encryptKeyIDHash="{key_hash(given)}", stateKeyIDHash="{key_hash(state.key_id if state else "")}"'
        )

    async def _decrypt(self, found: Any) -> bytes:
        request = pb.DecryptRequest(
            ciphertext=found.encryptedDEKSource,
            uid=str(uuid.uuid4()),
            key_id=found.keyID,
            annotations=dict(found.annotations),
        )
        try:
            answer = await self._call("Decrypt", request)
        except ServiceFailed as problem:
            raise ServiceFailed(f"failed to decrypt DEK, error: {problem}") from problem
        return bytes(answer.plaintext)

    async def _call(self, method: str, request: Any) -> Any:
        """Raises ServiceFailed."""
        import grpc.aio  # noqa: PLC0415  # as in start

        began, status = time.perf_counter(), "OK"
        try:
            return await getattr(self._stub, method)(
                request, timeout=self.kms.setting.timeout, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as problem:
            code = problem.code().name
            status = "".join(part.capitalize() for part in code.split("_"))
            raise ServiceFailed(f"rpc error: code = {status} desc = {problem.details()}") from problem
        finally:
            self.timed(f"/v2.KeyManagementService/{method}", status, time.perf_counter() - began)
