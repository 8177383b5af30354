"""Which Kubernetes this is: the API that is spoken, and the mark of who speaks it."""

import platform

VERSION = "v1.36.2-kybern"
MINOR, COMPATIBLE = "1.36", "1.35"
"""The minor version that it behaves as, and the oldest one that it works beside."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # as Go names them


def build() -> dict[str, str]:
    """What upstream's programs tell of how they were made, as far as a program in Python has that."""
    return {
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
    }
