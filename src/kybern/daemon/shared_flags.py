"""Flags that upstream's control plane daemons share, by the group in which their own help lists them.

What holds: each is taken. One that means something here acts; one that tunes what is not here (caches of webhooks,
goroutines, HTTP/2) has no effect, and its help says so; one that asks for what is not done here takes its default only, and
is refused with the reason, since a daemon that silently does something else is worse than one that does not start.
"""

from collections.abc import Collection, Iterator, Mapping

from kybern.daemon import tls
from kybern.daemon.features import DEFAULTS, STAGES
from kybern.daemon.flags import Flags, boolean, commas, duration, pairs
from kybern.daemon.version import VERSION

_NEEDS: Mapping[str, tuple[str, ...]] = {"ClusterTrustBundleProjection": ("ClusterTrustBundle",)}
"""What those need that act here; the gates that nobody may set need nothing that is not so."""
_AS_TLS = (
    "what --client-ca-file certifies may read metrics, and tokens that the API server of --kubeconfig allows"
)
_HEALTH = ("/healthz", "/readyz", "/livez")


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"must be greater than or equal to 1, but got {number}")
    return number


def unused(found: Flags, name: str, type: object, default: object, why: str) -> None:  # noqa: A002  # as Flags.flag
    """Add one that changes nothing here."""
    found.flag(name, type, default, f"No effect: {why}.")  # type: ignore[arg-type]  # one of the readers of Flags


def client(found: Flags, qps: float, burst: int) -> None:
    """How the API server is reached."""
    found.flag(
        "--master", str, "", "The address of the Kubernetes API server (overrides any value in kubeconfig)."
    )
    unused(found, "--kube-api-qps", float, qps, "requests are limited by what waits for them")
    unused(found, "--kube-api-burst", int, burst, "requests are limited by what waits for them")
    kind = "application/vnd.kubernetes.protobuf"
    unused(found, "--kube-api-content-type", str, kind, "bodies are JSON, which all API servers speak")


def leading(found: Flags, name: str) -> None:
    """Who of several works; ``name`` is the lease's."""
    found.flag("--leader-elect", bool, True, "Lead only while holding the lease.")
    found.flag(
        "--leader-elect-lease-duration", duration, 15.0, "How long a lease is valid that is not renewed."
    )
    found.flag(
        "--leader-elect-renew-deadline",
        duration,
        10.0,
        "How long the leader tries to renew before it gives up.",
    )
    found.flag("--leader-elect-retry-period", duration, 2.0, "How long to wait between attempts.")
    found.flag("--leader-elect-resource-name", str, name, "The name of the lease.")
    found.flag("--leader-elect-resource-namespace", str, "kube-system", "The namespace of the lease.")
    found.fixed("--leader-elect-resource-lock", str, "leases", "Leases are the only lock there is")


def serving(found: Flags, port: int) -> None:
    """The port of health and metrics."""
    found.flag("--bind-address", str, "0.0.0.0", "The address on which to serve health and metrics.")
    found.flag("--secure-port", int, port, "The port on which to serve HTTPS; 0 for none.")
    found.flag("--tls-cert-file", str, "", "The serving certificate; without one, one is made in memory.")
    found.flag("--tls-private-key-file", str, "", "The serving certificate's key.")
    found.flag(
        "--tls-min-version", tls.minimum_version, tls.minimum_version(""), "VersionTLS12 or VersionTLS13."
    )
    found.flag(
        "--tls-cipher-suites", tls.ciphers, (), "Accepted ciphers of TLS 1.2, as Go or OpenSSL names them."
    )
    connections(found)
    unused(found, "--cert-dir", str, "", "a certificate that is made is kept in memory only")


def connections(found: Flags) -> None:
    """What there is one way of when clients connect."""
    found.fixed("--tls-curve-preferences", commas, (), "the library's order of curves is used")
    found.fixed("--tls-sni-cert-key", str, "", "one certificate is served, that of --tls-cert-file")
    unused(found, "--http2-max-streams-per-connection", int, 0, "HTTP/1.1 is served")
    unused(found, "--disable-http2-serving", bool, False, "HTTP/1.1 is served")
    unused(found, "--permit-address-sharing", bool, False, "SO_REUSEADDR is always set")
    found.fixed("--permit-port-sharing", boolean, False, "a port belongs to one process")


def authentication(found: Flags, *, tolerant: bool) -> None:
    """Who may read metrics. ``tolerant``: upstream's daemon starts without the API server's configuration of that."""
    found.flag(
        "--client-ca-file", str, "", "Who presents a client certificate of this authority may read metrics."
    )
    found.flag(
        "--authorization-always-allow-paths",
        commas,
        _HEALTH,
        "Paths that anybody may read; * at the end of one stands for any rest.",
    )
    for name in ("--authentication-kubeconfig", "--authorization-kubeconfig"):
        unused(found, name, str, "", _AS_TLS)
    unused(found, "--authentication-skip-lookup", bool, False, _AS_TLS)
    unused(found, "--authentication-tolerate-lookup-failure", bool, tolerant, _AS_TLS)
    for name in (
        "--authentication-token-webhook-cache-ttl",
        "--authorization-webhook-cache-authorized-ttl",
        "--authorization-webhook-cache-unauthorized-ttl",
    ):
        unused(found, name, duration, 10.0, _AS_TLS)
    for part, default in (
        ("allowed-names", ()),
        ("extra-headers-prefix", ("x-remote-extra-",)),
        ("group-headers", ("x-remote-group",)),
        ("uid-headers", ()),
        ("username-headers", ("x-remote-user",)),
    ):
        unused(found, f"--requestheader-{part}", commas, default, _AS_TLS)
    unused(found, "--requestheader-client-ca-file", str, "", _AS_TLS)


def observing(found: Flags) -> None:
    """Metrics, logs and profiles."""
    measured(found)
    logged(found)
    unused(found, "--contention-profiling", bool, False, "there are no Go profiles of a program in Python")


def measured(found: Flags) -> None:
    """Which metrics are shown."""
    found.fixed("--allow-metric-labels", pairs, {}, "metrics are shown with all their labels")
    found.fixed("--allow-metric-labels-manifest", str, "", "metrics are shown with all their labels")
    found.fixed("--disabled-metrics", commas, (), "all metrics are shown")
    unused(found, "--show-hidden-metrics-for-version", str, "", "no metric is hidden")


def logged(found: Flags) -> None:
    """How logs are written, and whether there are profiles."""
    found.fixed("--vmodule", commas, (), "-v counts for all files")
    unused(found, "--log-flush-frequency", duration, 5.0, "every line is written at once")
    for form in ("json", "text"):
        unused(found, f"--log-{form}-info-buffer-size", str, "0", "every line is written at once")
        found.fixed(f"--log-{form}-split-stream", boolean, False, "logs go to standard error")
    unused(found, "--profiling", bool, True, "there are no Go profiles of a program in Python")


def features(found: Flags, acts: Collection[str] = ()) -> None:
    """Features and versions. Other than upstream's defaults are refused by name, but for those that ``acts`` names."""

    def gates(text: str) -> Mapping[str, str]:
        return usual_gates(text, acts)

    free = f", but for {', '.join(sorted(acts))}" if acts else ""
    told = f"Features, NAME=true|false, each as it is by default in this version{free}."
    found.flag("--feature-gates", gates, {}, told)
    versions(found)


def versions(found: Flags) -> None:
    """As which version to behave."""
    for name in ("--emulated-version", "--min-compatibility-version"):
        found.flag(name, _version, "", "Only the version of this program.")


def gates(text: str) -> Mapping[str, str]:
    """A --feature-gates value, such as A=true,kube:B=false. Raises ValueError, for unknown ones with upstream's words."""
    found = pairs(text)
    for key, value in found.items():
        name = key.removeprefix("kube:")
        if name not in STAGES:
            raise ValueError(f"unrecognized feature gate: {name}")
        try:
            boolean(value)
        except ValueError as problem:
            raise ValueError(f"invalid value of {key}={value}, err: {problem}") from problem
    satisfied({key.removeprefix("kube:"): boolean(value) for key, value in found.items()})
    return found


def satisfied(said: Mapping[str, bool]) -> None:
    """Raises ValueError, with upstream's words, for gates that are on without those that they need."""
    for name, others in _NEEDS.items():
        lacking = [one for one in others if not said.get(one, DEFAULTS[one])]
        if lacking and said.get(name, DEFAULTS[name]):
            why = f"depends on features that are disabled: [{' '.join(lacking)}]"
            raise ValueError(f"{name} is enabled, but {why}")


def usual_gates(text: str, acts: Collection[str] = ()) -> Mapping[str, str]:
    """The same; raises ValueError for what is not so by default, unless it is one of ``acts``."""
    found = gates(text)
    for name, value in unusual(found, acts):
        usual = str(not value).lower()
        said = str(value).lower()
        raise ValueError(f"cannot set feature gate {name} to {said}: it is {usual} here; leave it out")
    return found


def unusual(found: Mapping[str, str], acts: Collection[str]) -> Iterator[tuple[str, bool]]:
    """The gates that are asked to be other than by default, but for those of ``acts``."""
    for key, text in found.items():
        name, value = key.removeprefix("kube:"), boolean(text)
        if name not in acts and value != DEFAULTS.get(name, False):
            yield name, value


def enabled(found: Mapping[str, str], acts: Collection[str]) -> frozenset[str]:
    """Which of the gates that mean something here are on."""
    asked = {key.removeprefix("kube:"): boolean(text) for key, text in found.items()}
    return frozenset(name for name in acts if asked.get(name, DEFAULTS[name]))


def _version(text: str) -> str:
    own = ".".join(VERSION.removeprefix("v").split(".")[:2])
    if text.removeprefix("kube=") not in ("", own):
        raise ValueError(f"no version but {own} is emulated")
    return text
