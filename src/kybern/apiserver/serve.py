"""Puts the server together and runs it: store, caches, identity, rights, admission, listener, and its own upkeep."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography import x509
from prometheus_client import REGISTRY

from kybern.admission.chain import CONFIGURED, Chain, chain
from kybern.admission.configured import Configured
from kybern.admission.plugins import default_toleration_seconds
from kybern.api.kinds import KINDS
from kybern.apiserver import (
    about,
    answers,
    bootstrap,
    compaction,
    defaults,
    negotiate,
    neighbours,
    privileged,
    verbs,
)
from kybern.apiserver.aggregation.parts import Aggregation
from kybern.apiserver.audit.setting import setting
from kybern.apiserver.authentication import Authenticator, Tokens
from kybern.apiserver.config import Config
from kybern.apiserver.crd.serving import Definitions
from kybern.apiserver.dangling import Dangling
from kybern.apiserver.encryption import PROVIDERS, Encryption
from kybern.apiserver.engine import Engine
from kybern.apiserver.fairness import dumps
from kybern.apiserver.fairness.gate import Fairness
from kybern.apiserver.guards import Escalation, Requester
from kybern.apiserver.hooks import Hooks, Stage
from kybern.apiserver.http import Server
from kybern.apiserver.identity.outside import Outside
from kybern.apiserver.legacy_tracking import Tracking
from kybern.apiserver.limits import Gate, Limits
from kybern.apiserver.listen import Listener
from kybern.apiserver.local import Local
from kybern.apiserver.lookup import CacheLookup, Informers
from kybern.apiserver.openapi import Documents
from kybern.apiserver.own_lease import OwnLease
from kybern.apiserver.passing.find import Finder
from kybern.apiserver.passing.ways import Ways, open_ways
from kybern.apiserver.paths import Asked, Given, Health, Paths
from kybern.apiserver.reviews import Reviews
from kybern.apiserver.rights.authorizers import Authorizers
from kybern.apiserver.route import Table
from kybern.apiserver.services import identities
from kybern.apiserver.services.addresses import Addresses
from kybern.apiserver.services.caller import WebhookCaller
from kybern.apiserver.services.guard import ServiceGuard
from kybern.apiserver.services.masters import Master, Masters
from kybern.apiserver.services.ports import Ports
from kybern.apiserver.services.reach import Reach
from kybern.apiserver.services.repair import Repair
from kybern.apiserver.storage_metrics import Stored
from kybern.apiserver.subresources import connect
from kybern.apiserver.subresources.log import Logs
from kybern.apiserver.subresources.proxy import Proxies
from kybern.apiserver.token_request import Issuer
from kybern.apiserver.versions import ServedVersions
from kybern.auth import keys, static_tokens, tokens
from kybern.auth.certificates import Certificates, ProxyHeaders
from kybern.auth.user import User
from kybern.daemon.flags import Values
from kybern.daemon.run import Fatal, ready
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema
from kybern.storage.caches import Caches
from kybern.storage.etcd import EtcdStore
from kybern.storage.member import Credentials

log = logging.getLogger(__name__)

ADMISSION = "admission-control-config-file"


async def serve(config: Config) -> None:
    """Run until cancelled."""
    async with contextlib.AsyncExitStack() as stack:
        values = config.values
        # The member on this machine first: it is near, and the servers share the load.
        members = sorted(values["etcd-servers"], key=lambda member: f"//{config.advertise}:" not in member)
        root = values["etcd-prefix"].rstrip("/")
        file = values["encryption-provider-config"]
        # All of them: what is not served may lie in the store all the same.
        follows = values["encryption-provider-config-automatic-reload"]
        encryption = Encryption(Path(file), KINDS, root, follows=follows) if file else None
        store = EtcdStore(
            members,
            Credentials(values["etcd-cafile"], values["etcd-certfile"], values["etcd-keyfile"]),
            root,
            encryption.values if encryption else None,
        )
        stack.push_async_callback(store.close)
        ways = await stack.enter_async_context(open_ways(values))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ways.follow(values), name="kubelet client certificate")
            parts = Parts(config, store, tasks, ways)
            if encryption:
                stack.push_async_callback(encryption.close)
                await encryption.start(tasks)
                if encryption.checked:
                    parts.health.add(PROVIDERS, encryption.check)
            try:
                await parts.run()
                await asyncio.Event().wait()
            finally:
                await parts.close()


def _certificates(path: str) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(Path(path).read_bytes())) if path else ()


class Parts:
    """The server's parts, wired."""

    def __init__(self, config: Config, store: EtcdStore, tasks: asyncio.TaskGroup, ways: Ways) -> None:
        values = config.values
        self.config = config
        self.tasks = tasks
        self.caches = Caches(store, tasks)
        table = Table.of(config.kinds)
        self.lookup = CacheLookup(store, self.caches, table)
        self.engine = Engine(
            store, self.caches, table, self.lookup, gates=config.gates, event_ttl=int(values["event-ttl"])
        )
        caller = WebhookCaller(ways.hooks, Reach(self.lookup), identities.of_admission(values[ADMISSION]))
        self.configured = self.engine.configured = Configured(ServedVersions(self.engine), caller)
        self.local = Local(self.engine)
        self.engine.charge, self.engine.provision = self._charge, self._provision
        self.addresses = Addresses(self.local, config.networks)
        self.ports = Ports(store, *values["service-node-port-range"])
        self.authorizers = Authorizers(values)
        self.authorization = self.authorizers.authorization(config.gates)
        self.engine.authorize = self.authorization.allow
        self.informers = Informers(self.caches, table)
        self.tokens, self.issuer, self.jwks = self._identity()
        certificates = self._client_certificates()
        self.health = self._health()
        self.paths = Paths(table, config.address, self.health)
        self._pages(store)
        self.server = Server(
            self.engine,
            Authenticator(certificates, self.tokens, values["anonymous-auth"]),
            self.authorization,
            self.paths,
            self._gate(),
        )
        self._answers(ways, certificates.headers)
        self.aggregation = Aggregation(values, self.local, self.lookup, certificates.headers)
        self.aggregation.serve(self.server, self.documents)
        self.listener = Listener(config, self.server.handle)
        self.synced = False
        self.made = False
        self.stopping = False

    async def _charge(self, quota: Raw) -> None:
        await self.local.update("", "resourcequotas", quota, "status")

    async def _provision(self, namespace: str) -> None:
        await self.local.create("", "namespaces", {"metadata": {"name": namespace}})

    def _identity(self) -> tuple[Tokens, Issuer, list[keys.VerifyingKey]]:
        config, values = self.config, self.config.values
        signing = keys.SigningKey.load(Path(values["service-account-signing-key-file"]).read_bytes())
        files = values["service-account-key-file"] or (values["service-account-signing-key-file"],)
        known = [key for path in files for key in keys.load_verifying(Path(path).read_bytes())]
        verifier = tokens.Verifier(config.issuers, config.audiences, tuple(known))
        lookup = self.engine.lookup
        issuer = Issuer(
            config.issuers[0],
            config.audiences,
            signing,
            lookup,
            lambda: str(uuid.uuid4()),
            time.time,
            int(values["service-account-max-token-expiration"]),
            values["service-account-extend-token-expiration"],
        )
        static = _static_tokens(values["token-auth-file"])
        self.outside = Outside(values, config.audiences, config.issuers)
        found = Tokens(
            verifier, lookup, values["enable-bootstrap-token-auth"], static=static, others=self.outside.asks
        )
        self.tracking = Tracking(self.local, time.time)
        found.used = self.tracking.used
        return found, issuer, known

    def _gate(self) -> Gate:
        values = self.config.values
        reads, writes = values["max-requests-inflight"], values["max-mutating-requests-inflight"]
        self.fairness: Fairness | None = None
        if not values["enable-priority-and-fairness"]:
            return Limits(reads, writes)
        # A quarter of the time that a request has, as upstream.
        patience = values["request-timeout"] / 4
        self.fairness = Fairness(reads + writes, patience, self._stored, time.monotonic)
        self.paths.pages |= dumps.pages(self.fairness, time.monotonic, time.time)
        return self.fairness

    def _stored(self, group: str, plural: str) -> int:
        kind = self.engine.table.kind(group, plural)
        cache = self.caches.known(self.engine.table.stored(kind)) if kind else None
        return len(cache) if cache else 0

    def _client_certificates(self) -> Certificates:
        values = self.config.values
        headers = ProxyHeaders(
            values["requestheader-allowed-names"],
            _lower(values["requestheader-username-headers"]),
            _lower(values["requestheader-uid-headers"]),
            _lower(values["requestheader-group-headers"]),
            _lower(values["requestheader-extra-headers-prefix"]),
        )
        clients = _certificates(values["client-ca-file"])
        return Certificates(clients, _certificates(values["requestheader-client-ca-file"]), headers)

    def _health(self) -> Health:
        health = Health()
        self.hooks = Hooks()
        health.add("etcd", self._etcd, "healthz", "livez")
        health.add("informer-sync", self._informers_synced, "readyz")
        for name, check in self.hooks.checks():
            health.add(name, check)
        health.add("autoregister-completion", self._announced)
        health.add("shutdown", self._not_stopping, "readyz")
        return health

    async def _etcd(self) -> None:
        async with asyncio.timeout(self.config.values["etcd-healthcheck-timeout"]):
            await self.engine.store.revision()

    async def _informers_synced(self) -> None:
        if not self.synced:
            raise Fatal("the authorizers' caches are not filled yet")

    async def _announced(self) -> None:
        if missing := self.aggregation.announce.missing():
            raise Fatal(f"missing APIService: [{' '.join(missing)}]")

    async def _not_stopping(self) -> None:
        if self.stopping:
            raise Fatal("the server is being stopped")

    def _pages(self, store: EtcdStore) -> None:
        figures = Stored(self.caches.running, store.size)
        REGISTRY.register(figures)
        self.paths.measure = figures.ask
        values, issuers = self.config.values, self.config.issuers
        uri = values["service-account-jwks-uri"] or f"https://{self.config.address}/openid/v1/jwks"
        well_known = _json(keys.discovery(issuers[0], uri, self.jwks))
        key_set = _json(keys.key_set(self.jwks))
        self.paths.pages["/.well-known/openid-configuration"] = lambda _asked: Given(well_known)
        self.documents = Documents(self.config.kinds, Schema.load().definitions)
        self.definitions = Definitions(self.engine, self.local, self._served, self.configured.caller)
        self.paths.prefixes["/openapi/v"] = self.documents.page
        self.paths.pages |= about.pages(values)
        self.paths.pages["/openid/v1/jwks"] = lambda asked: _jwks(asked, key_set)

    def _served(self, custom: tuple[Kind, ...]) -> None:
        """Custom kinds have changed."""
        self.documents.follow(custom)
        self.aggregation.announce.wake()

    def _answers(self, ways: Ways, headers: ProxyHeaders) -> None:
        self.server.trail = setting(self.config.values)
        self.server.request_timeout = self.config.values["request-timeout"]
        review = Reviews(self.authorization, self.tokens, time.time)
        for kind in self.config.kinds:
            if review.knows(kind.group, kind.plural):
                verbs.UNSTORED[kind.plural, "create"] = answers.review(review)
        verbs.SUBRESOURCES["token", "create"] = answers.token(self.issuer)
        components = answers.Components({**neighbours.checks(), "etcd-0": self._etcd})
        verbs.UNSTORED["componentstatuses", "get"] = components.get
        verbs.UNSTORED["componentstatuses", "list"] = components.list
        self.server.streaming["log"] = Logs(ways.kubelets)
        connects = connect.Connects(ways.kubelets, self.authorization)
        self.server.streaming |= dict.fromkeys(connect.NAMES, connects)
        self.server.streaming["proxy"] = Proxies(Finder(self.lookup, ways.kubelets), ways, headers)
        escalation = Escalation(self.authorization)
        roles = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        self.engine.guards = {
            ("", "services"): (ServiceGuard(self.addresses, self.ports),),
            ("certificates.k8s.io", "certificatesigningrequests"): (Requester(),),
            **{(bootstrap.RBAC, plural): (escalation,) for plural in roles},
        }
        if not self.config.values["allow-privileged"]:
            self.engine.guards |= dict.fromkeys(privileged.TEMPLATES, (privileged.Unprivileged(),))

    async def run(self) -> None:
        self.engine.chain = self._chain()
        await self.server.trail.run(self.tasks)
        await self.outside.start(self.server.authenticator, self.tasks)
        await self.authorizers.start(self.authorization, self.tasks)
        await self.listener.start()
        self.tasks.create_task(self.server.watching.tend(), name="watches")
        dangling = self._follow()
        await self.informers.follow()
        self.configured.filled()
        self.synced = True
        self.hooks.reached(Stage.CACHES)
        masters = self._masters()
        await defaults.make(self.local, masters, self.config.gates)
        self.hooks.reached(Stage.OBJECTS)
        self.tasks.create_task(masters.run(), name="endpoints")
        self.tasks.create_task(self.definitions.run(), name="definitions")
        self.aggregation.run(self.tasks)
        self.tasks.create_task(dangling.run(), name="dangling")
        if self.fairness:
            self.tasks.create_task(self.fairness.run(), name="fairness")
        self.tasks.create_task(self.tracking.run(), name="tracking")
        self.tasks.create_task(OwnLease(self.local, time.time).run(), name="lease")
        values = self.config.values
        self.tasks.create_task(compaction.run(self.engine.store, values["etcd-compaction-interval"]))
        self.tasks.create_task(Repair(self.engine, self.addresses, self.ports).run())
        self.made = True
        self.hooks.reached(Stage.LOOPS)
        ready()
        log.info("Serving on %s", self.config.address)

    def _follow(self) -> Dangling:
        """Let all know of what they need to know of from here on."""
        self.authorization.follow(self.informers)
        self.definitions.follow(self.informers)
        self.configured.follow(self.informers)
        self.aggregation.follow(self.informers)
        if self.fairness:
            self.fairness.follow(self.informers)
        return Dangling(self.local, self.informers)

    def _chain(self) -> Chain:
        values = self.config.values
        try:
            return chain(
                values["enable-admission-plugins"],
                values["disable-admission-plugins"],
                {**identities.admission_settings(values[ADMISSION], CONFIGURED), **_own(values)},
            )
        except ValueError as problem:
            raise Fatal(f"kube-apiserver: {problem}") from problem

    def _masters(self) -> Masters:
        values = self.config.values
        master = Master(
            self.config.advertise,
            values["secure-port"],
            self.config.networks,
            node_port=values["kubernetes-service-node-port"],
        )
        return Masters(self.local, master, lease=values["endpoint-reconciler-type"] == "lease")

    async def close(self) -> None:
        """Say that the server goes, wait until those in front of it know, and let requests finish."""
        self.stopping = True
        if self.made:
            await asyncio.sleep(self.config.values["shutdown-delay-duration"])
        self.server.watching.end()
        await self.listener.close()
        await self.outside.close()
        await self.authorizers.close()
        await self.aggregation.close()
        await self.engine.chain.close()
        await self.server.trail.close()


def _own(values: Values) -> Mapping[str, Raw]:
    """What flags say to plugins."""
    return {
        default_toleration_seconds.PLUGIN.name: {
            default_toleration_seconds.NOT_READY: values["default-not-ready-toleration-seconds"],
            default_toleration_seconds.UNREACHABLE: values["default-unreachable-toleration-seconds"],
        }
    }


def _static_tokens(path: str) -> dict[str, User]:
    try:
        return static_tokens.read(Path(path).read_text()) if path else {}
    except (OSError, ValueError) as problem:
        raise Fatal(f"cannot read --token-auth-file {path}: {problem}") from problem


def _lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def _json(value: Raw) -> bytes:
    return msgspec.json.encode(value)


def _jwks(asked: Asked, body: bytes) -> Given:
    media = "application/jwk-set+json"
    accept = asked.accept
    if accept and "*/*" not in accept and media not in accept:
        raise negotiate.unknown_media((media,))
    return Given(body, media)
