"""Write the reference pages that follow from the program: flags, kinds, controllers.

Run ``python -m generate.docs``. The pages are committed, so that they can be read where the sources are; a test compares.
"""

import enum
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kybern.api.kinds import KINDS, OPTIONAL
from kybern.apiserver.config import FLAGS as APISERVER
from kybern.cli.cloud_flags import flags as cloud_controller_manager
from kybern.cli.cloud_volumes import flags as cloud_volumes
from kybern.cli.cloud_volumes_node import FLAGS as CLOUD_VOLUMES_NODE
from kybern.cli.controller_flags import flags as controller_manager
from kybern.cli.dns import FLAGS as DNS
from kybern.cli.ingress import FLAGS as INGRESS
from kybern.cli.load_balancers import FLAGS as LOAD_BALANCERS
from kybern.cli.local_volumes import FLAGS as LOCAL_VOLUMES
from kybern.cli.metrics import FLAGS as METRICS
from kybern.cli.netboot import FLAGS as NETBOOT
from kybern.cli.pod_network import FLAGS as POD_NETWORK
from kybern.cli.policies import FLAGS as POLICIES
from kybern.cli.proxy import FLAGS as PROXY
from kybern.cli.scheduler import FLAGS as SCHEDULER
from kybern.cli.speaker import FLAGS as SPEAKER
from kybern.cloud import node, node_lifecycle, node_route, service_lb
from kybern.cloud.settings import CloudSettings
from kybern.cloud.volumes.controllers import controllers as cloud_volume_controllers
from kybern.controllers import CONTROLLERS
from kybern.daemon.flags import Flag, Flags
from kybern.kubelet.flags import FLAGS as KUBELET
from kybern.kubelet.gates import FREE
from kybern.kubelet.keys import KEYS, ONLY, TUNING
from kybern.loop.choice import ABSENT, GATES
from kybern.loop.controller import Controller
from kybern.loop.metrics import COUNTS, DURATIONS
from kybern.loop.settings import Settings
from kybern.machinery.kind import Kind

OUT = Path(__file__).parent.parent / "docs/reference"
HEADER = "<!-- Written by generate/docs.py. Do not edit. -->\n"
DAEMONS = (
    APISERVER,
    controller_manager(),
    cloud_controller_manager(),
    SCHEDULER,
    KUBELET,
    PROXY,
    POD_NETWORK,
    POLICIES,
    DNS,
    METRICS,
    LOCAL_VOLUMES,
    cloud_volumes(),
    CLOUD_VOLUMES_NODE,
    LOAD_BALANCERS,
    SPEAKER,
    INGRESS,
    NETBOOT,
)
TYPES = {
    "at_least_one": "number",
    "boolean": "bool",
    "ciphers": "list",
    "cloud": "text",
    "gates": "map",
    "version": "text",
    "commas": "list",
    "switches": "map",
    "pairs": "map",
    "str": "text",
    "float": "number",
    "int": "number",
}
WRITES = re.compile(r"\b[Ww]rites (.+?)[.;](?= |$)")


def table(columns: tuple[str, ...], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


ABSENCE = (
    "",
    "Upstream's other controllers do not run here. `--controllers` takes their names where upstream would not run them",
    "either, and all of them with a minus.",
    "",
)


GATED = (
    "",
    *(
        f"`{name}` runs only with the feature gate {gate}, which is off by default."
        for name, gate in GATES.items()
    ),
)
CLOUD = (
    "",
    "cloud-controller-manager runs those of the following for which its cloud has the part:",
    "",
)
VOLUMES = (
    "",
    "kybern-cloud-volumes runs all of the following, as its own user:",
    "",
)
MEASURED = (
    "",
    "What they do is counted by upstream's names, beside what their queues do (`workqueue_`):",
    "",
)


def page(*parts: Iterable[str]) -> str:
    return HEADER + "\n".join(line for part in parts for line in part) + "\n"


def duration(seconds: float) -> str:
    """As upstream writes it: 5m0s, 1h0m0s, 10s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def kind(flag: Flag) -> str:
    name = flag.read.__name__.strip("_")
    return TYPES.get(name, name)


def default(flag: Flag) -> str:
    value: Any = flag.default
    match value:
        case bool():
            shown = "true" if value else "false"
        case "" | None | () | {}:
            return ""
        case float() if flag.read.__name__ == "duration":
            shown = duration(value)
        case enum.Enum():
            shown = value.name
        case (int(first), int(last)):
            shown = f"{first}-{last}"
        case tuple():
            shown = ",".join(map(str, value))
        case Mapping():
            shown = ",".join(f"{key}={content}" for key, content in value.items())
        case _:
            shown = str(value)
    return f"`{shown}`"


def flags(daemons: Iterable[Flags]) -> str:
    head = [
        "# Flags",
        "",
        "What each daemon takes on its command line, with the names that upstream's daemons have.",
        "Any other flag is an error. `kybern --help` tells of the operator's commands.",
    ]
    parts: list[Iterable[str]] = [head]
    for daemon in daemons:
        rows = (
            (f"`--{flag.name}`", kind(flag), default(flag), flag.help)
            for flag in daemon
        )  # fmt: skip
        parts.append(["", f"## {daemon.name}", "", daemon.description, ""])
        parts.append(table(("flag", "type", "default", "meaning"), rows))
    return page(*parts)


def kinds(listed: Iterable[Kind], optional: Iterable[Kind]) -> str:
    head = [
        "# Kinds",
        "",
        "Every kind that the API serves, in the order of discovery. An object's key in etcd is",
        "`/registry/STORAGE/[NAMESPACE/]NAME`.",
        "Kinds without storage are answered and never kept, or are served as another version is stored.",
        "",
    ]
    columns = (
        "kind",
        "version",
        "resource",
        "short names",
        "namespaced",
        "storage",
        "subresources",
        "field selectors",
    )
    more = ["", "Served only when `--runtime-config` and a feature gate say so:", ""]
    return page(head, table(columns, map(kind_row, listed)), more, table(columns, map(kind_row, optional)))


def kind_row(kind: Kind) -> tuple[str, ...]:
    return (
        kind.kind,
        kind.api_version,
        kind.plural,
        ", ".join(kind.short_names),
        "yes" if kind.namespaced else "",
        f"`{kind.storage}`" if kind.storage else "",
        ", ".join(sub.name for sub in kind.subresources),
        ", ".join(kind.selectable),
    )


def of_clouds() -> tuple[Controller[Any], ...]:
    """Those of cloud-controller-manager, of a cloud that has every part: they are described, and never run."""
    part: Any = None
    told = CloudSettings()
    return (
        node.controller(part, part, told),
        node_lifecycle.controller(part, told),
        node_route.controller(part, told),
        service_lb.controller(part, told),
    )


def of_volumes() -> tuple[Controller[Any], ...]:
    """Those of kybern-cloud-volumes, in the same way."""
    part: Any = None
    return cloud_volume_controllers(part)


def controllers(listed: Iterable[Controller[Any]], of_a_cloud: Iterable[Controller[Any]]) -> str:
    head = [
        "# Controllers",
        "",
        "The control loops of kube-controller-manager: what wakes each of them beside what it is about, and what it",
        "writes. `--controllers` takes the names. Acting as: the service account in kube-system with whose rights it",
        "writes, with `--use-service-account-credentials`.",
        "",
    ]
    columns = ("name", "what it does", "about", "woken by", "writes", "acting as")
    rows = (controller_row(one) for one in sorted(listed, key=lambda one: one.name))
    absent = table(("name", "why not"), ((f"`{name}`", why) for name, why in sorted(ABSENT.items())))
    cloud = table(columns, (controller_row(one) for one in of_a_cloud))
    volumes = table(columns, (controller_row(one) for one in of_volumes()))
    ours = (*CLOUD, *cloud, *VOLUMES, *volumes)
    return page(head, table(columns, rows), GATED, ABSENCE, absent, ours, MEASURED, metrics())


def metrics() -> Iterator[str]:
    """What controllers count and measure."""
    found = {**COUNTS, **{name: (text, labels) for name, (text, labels, _) in DURATIONS.items()}}
    rows = (
        (f"`{name}`", ", ".join(f"`{label}`" for label in labels), f"{text}.")
        for name, (text, labels) in sorted(found.items())
    )
    return table(("metric", "labels", "what it is"), rows)


def controller_row(one: Controller[Any]) -> tuple[str, ...]:
    module = inspect.getmodule(one.diff.func if isinstance(one.diff, partial) else one.diff)
    text = (
        " ".join((inspect.getdoc(sys.modules[package_of(module.__name__)]) or "").split()) if module else ""
    )
    written = WRITES.search(text)
    watched = [kind.__name__ for kind in (*one.owns, *(kind for kind, _ in one.watches))]
    return (
        f"`{one.name}`",
        text.partition(". ")[0] + ".",
        "anything" if one.everything else one.kind.__name__,
        ", ".join(dict.fromkeys(watched)) if not one.everything else "every kind that discovery lists",
        written[1] if written else "",
        f"`{one.component or one.name}`",
    )


def package_of(module: str) -> str:
    """The controller that a module belongs to: kybern.controllers.NAME, whichever part of it that is."""
    return ".".join(module.split(".")[:3])


def kubelet_fields() -> str:
    head = [
        "# Fields of KubeletConfiguration",
        "",
        "Every field of `kubelet.config.k8s.io/v1beta1` at v1.36, and what becomes of it. A field with a value that is not",
        "honoured ends the kubelet with an error that names it, as does one that is not in this table.",
        "Feature gates (`featureGates`) may be given with their defaults; with other values, only these: "
        + ", ".join(f"`{gate}`" for gate in sorted(FREE))
        + ".",
        "",
    ]
    told = dict.fromkeys(KEYS, ("honoured", ""))
    told |= {key: ("without effect", why) for key, why in TUNING.items()}
    told |= {key: ("refused", allowed_values(values)) for key, values in ONLY.items()}
    told["featureGates"] = ("checked", "see above")
    rows = ((f"`{key}`", *told[key]) for key in sorted(told, key=str.lower))
    return page(head, table(("field", "what becomes of it", "why, or what may stand"), rows))


def allowed_values(values: tuple[object, ...]) -> str:
    shown = ", ".join(f"`{json.dumps(value)}`" for value in values)
    return f"only {shown}" if shown else "only when empty"


def generate() -> dict[str, str]:
    """Every page by its file's name."""
    return {
        "flags.md": flags(DAEMONS),
        "kinds.md": kinds(KINDS, OPTIONAL),
        "kubelet-fields.md": kubelet_fields(),
        "controllers.md": controllers((make(Settings()) for make in CONTROLLERS), of_clouds()),
    }


def main() -> None:
    for name, text in generate().items():
        (OUT / name).write_text(text)


if __name__ == "__main__":
    main()
