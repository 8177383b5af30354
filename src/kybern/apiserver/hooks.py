"""The checks of health that say which part of the server has started, under the names of upstream's start-up hooks.

There are no such hooks here. A name stands where this server has what that hook starts, and its check holds once that runs;
a hook whose work is not done here has no name, since a check that always holds would say nothing.
"""

import enum
from collections.abc import Awaitable, Callable, Iterator, Mapping

from kybern.daemon.run import Fatal


class Stage(enum.Enum):
    """What start-up brings about, one after the other; the value says what is missing before."""

    CACHES = "the caches that the server follows are not filled yet"
    OBJECTS = "the default objects are not made yet"
    LOOPS = "the server's own loops do not run yet"


NAMES: Mapping[Stage, tuple[str, ...]] = {
    Stage.CACHES: (
        "apiservice-wait-for-first-sync", "crd-informer-synced", "generic-apiserver-start-informers",
        "start-apiextensions-informers", "start-apiserver-admission-initializer", "start-kube-aggregator-informers",
    ),
    Stage.OBJECTS: (
        "bootstrap-controller", "priority-and-fairness-config-producer", "rbac/bootstrap-roles",
        "scheduling/bootstrap-system-priority-classes", "start-kubernetes-service-cidr-controller",
        "start-system-namespaces-controller",
    ),
    Stage.LOOPS: (
        "apiservice-discovery-controller", "apiservice-openapi-controller", "apiservice-openapiv3-controller",
        "apiservice-registration-controller", "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller", "kube-apiserver-autoregistration",
        "priority-and-fairness-config-consumer", "start-apiextensions-controllers",
        "start-cluster-authentication-info-controller", "start-kube-apiserver-identity-lease-controller",
        "start-kube-apiserver-identity-lease-garbage-collector", "start-legacy-token-tracking-controller",
        "start-service-ip-repair-controllers",
    ),
}  # fmt: skip


class Hooks:
    """Which stages are reached."""

    def __init__(self) -> None:
        self._reached: set[Stage] = set()

    def reached(self, stage: Stage) -> None:
        self._reached.add(stage)

    def checks(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """Names and checks, as ``paths.Health`` takes them."""
        stages = ((name, stage) for stage, names in NAMES.items() for name in names)
        for name, stage in sorted(stages, key=lambda pair: pair[0]):
            yield f"poststarthook/{name}", self._check(stage)

    def _check(self, stage: Stage) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            if stage not in self._reached:
                raise Fatal(stage.value)

        return check
