"""KubeletConfiguration (v1beta1) in a file, and in a directory of files that are laid over it.

What holds: decoding is strict, as upstream's: an unknown field, and one given twice, are errors that name it. Drop-ins
(``*.conf`` below ``--config-dir``, in the order of their paths) are merged as JSON merge patches: maps by the key, lists
whole. Zero values count as not set where upstream cannot tell them apart, as in the file that kubeadm writes. What
asks for a part that does not exist here is refused by name (``ONLY``); what only tunes it is read past (``TUNING``).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kybern.api.core_v1 import Taint
from kybern.daemon.flags import duration
from kybern.daemon.run import Fatal
from kybern.kubelet import gates
from kybern.kubelet.eviction.signals import DEFAULT, checked
from kybern.kubelet.keys import KEYS, ONLY, POINTERS, TUNING
from kybern.kubelet.memory import reservation
from kybern.kubelet.settings import Settings
from kybern.kubelet.shutdown.groups import Period
from kybern.machinery.errors import BadRequest
from kybern.machinery.patch.merge import merge_patch
from kybern.machinery.yaml import decode_yaml

API_VERSION = "kubelet.config.k8s.io/v1beta1"

# Keys that hold further keys of ours.
_NESTED = frozenset(
    key.rsplit(".", depth)[0]
    for key in (*KEYS, *TUNING, *ONLY)
    for depth in (1, 2)
    if key.count(".") >= depth
)


@dataclass(frozen=True, slots=True)
class Contents:
    """``found``: by names of ``Settings``. ``past``: fields that were read past, as they were given."""

    found: Mapping[str, Any] = field(default_factory=dict)
    past: Mapping[str, Any] = field(default_factory=dict)


def read(file: str, directory: str) -> Contents:
    """What the file says ("" for none) with the drop-ins of the directory ("" for none). Raises Fatal."""
    whole: dict[str, Any] = {}
    where = Path(file or directory)
    if file:
        whole = _loaded(where)
    drop_ins = _drop_ins(Path(directory)) if directory else []
    if drop_ins:
        # A drop-in that names one threshold leaves the others as they are by default.
        whole = {"evictionHard": dict(DEFAULT), **whole}
    for path in drop_ins:
        over = _loaded(path)
        _contents(path, over)
        whole = merge_patch(whole, over)
    return _contents(where, whole)


def _drop_ins(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise Fatal(f"cannot read --config-dir {directory}: it is no directory")
    return sorted(path for path in directory.rglob("*.conf") if path.is_file())


def _loaded(path: Path) -> dict[str, Any]:
    try:
        content, twice = decode_yaml(path.read_bytes(), duplicates=True)
    except OSError as problem:
        raise Fatal(f"cannot read {path}: {problem.strerror}") from problem
    except BadRequest as problem:
        raise Fatal(f"cannot read {path}: not YAML: {problem}") from problem
    if twice:
        raise Fatal(f"cannot use {path}: strict decoding error: {twice[0].splitlines()[-1].strip()}")
    if not isinstance(content, dict):
        raise Fatal(f"cannot read {path}: it holds no settings")
    head = (content.get("apiVersion"), content.get("kind"))
    if head != (API_VERSION, "KubeletConfiguration"):
        raise Fatal(f"cannot use {path}: it is {head[0]} {head[1]}, not {API_VERSION} KubeletConfiguration")
    return content


def _contents(path: Path, content: Mapping[str, Any]) -> Contents:
    found: dict[str, Any] = {}
    past: dict[str, Any] = {}
    for key, value in _flat(content, ""):
        if key in TUNING and value is not None:
            past[key] = value
            continue
        try:
            found |= _field(key, value)
        except ValueError as problem:
            raise Fatal(f"cannot use {path}: {problem}") from problem
    return Contents(_completed(found), past)


def _field(key: str, value: Any) -> dict[str, Any]:
    """The setting of one field; none for one that is not set, or asks for nothing. Raises ValueError."""
    if key not in (*KEYS, *ONLY, *TUNING, "featureGates", "apiVersion", "kind"):
        raise ValueError(f'strict decoding error: unknown field "{key}"')
    if value is None:
        return {}
    if key == "featureGates":
        return {"gates": gates.checked(_switches(value))}
    if key in ONLY:
        refuse(key, value)
    return _counted(key, value) if key in KEYS else {}


def refuse(key: str, value: Any) -> None:
    """Raise ValueError where a value asks for a part that does not exist here."""
    nothing = type(value) is not bool and value in (None, "", [], {}, (), 0, "0s")
    if not nothing and value not in ONLY[key]:
        raise ValueError(f'field "{key}" is not supported with {json.dumps(value)}')


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    """With the defaults that follow from other fields, as upstream sets them."""
    if "status_every" in found:
        found.setdefault("report_every", found["status_every"])
    if found.get("parallel_pulls", 0) > 1:
        found.setdefault("serialize_pulls", False)
    return found


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if key not in _NESTED:
            yield key, value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        elif value is not None:
            yield key, value


_TYPES = {each.name: each.type for each in fields(Settings)}


def _counted(key: str, value: Any) -> dict[str, Any]:
    """The setting of a field; none where the value means that it is not set. Raises ValueError."""
    name = KEYS[key]
    try:
        converted = _READ.get(name, _plain(_TYPES[name]))(value)
    except (TypeError, ValueError, AttributeError, KeyError) as problem:
        raise ValueError(f'invalid value "{value}" for field "{key}": {problem}') from problem
    zero = type(converted) is not bool and converted in (0, "")
    return {} if zero and key not in POINTERS else {name: converted}


def _plain(of: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if of is float:
            return duration(str(value))
        if of in (bool, int, str) and type(value) is not of:
            raise ValueError(f"want {of.__name__}")
        return value

    return check


def _switches(value: Any) -> Mapping[str, bool]:
    if not isinstance(value, Mapping) or any(type(each) is not bool for each in value.values()):
        raise ValueError(f'invalid value "{value}" for field "featureGates": want names with true or false')
    return {str(name): each for name, each in value.items()}


def _taints(value: Any) -> tuple[Taint, ...]:
    return tuple(
        Taint(key=raw["key"], value=raw.get("value") or "", effect=raw["effect"]) for raw in value or ()
    )


def _limits(value: Any) -> Mapping[str, str]:
    found = _texts(value)
    for signal, text in found.items():
        checked(signal, text)
    return found


def _texts(value: Any) -> Mapping[str, str]:
    return {str(name): str(text) for name, text in value.items()}


def _lists(value: Any) -> Mapping[str, tuple[str, ...]]:
    return {str(name): _list(each) for name, each in value.items()}


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("want a list")
    return tuple(str(each) for each in value)


def _durations(value: Any) -> Mapping[str, float]:
    return {str(name): duration(str(text)) for name, text in value.items()}


def _periods(value: Any) -> tuple[Period, ...]:
    return tuple(
        Period(_whole(raw.get("priority")), _whole(raw.get("shutdownGracePeriodSeconds")))
        for raw in value or ()
    )


def _whole(value: Any) -> int:
    if value is not None and type(value) is not int:
        raise ValueError(f"{value} is no whole number")
    return value or 0


_READ: Mapping[str, Callable[[Any], Any]] = {
    "reserved_memory": reservation.from_file,
    "topology_options": _texts,
    "cpu_options": _texts,
    "static_pod_header": _lists,
    "shutdown_by_priority": _periods,
    "eviction_soft": _limits,
    "eviction_grace": _durations,
    "eviction_minimum": _texts,
    "taints": _taints,
    "eviction_hard": _limits,
    "kube_reserved": _texts,
    "system_reserved": _texts,
    "cluster_dns": _list,
    "enforce": _list,
    "unsafe_sysctls": _list,
    "tls_ciphers": _list,
    "image_allowlist": _list,
}
