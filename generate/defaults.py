"""Writes the objects that every API server makes at its start, from the facts of v1.36, as packaged data.

Run as ``python -m generate.defaults``. One object a line, so that a change of version reads well.
"""

import json
from pathlib import Path

FACTS = Path(__file__).parent / "facts" / "rbac_defaults.json"
DATA = Path(__file__).parent.parent / "src" / "kybern" / "auth" / "data"
FILES = {
    "rbac.json": (
        "clusterRoles",
        "clusterRoleBindings",
        "roles",
        "roleBindings",
        "gatedClusterRoles",
        "gatedClusterRoleBindings",
        "gatedRules",
    ),
    "flowcontrol.json": ("flowSchemas", "priorityLevelConfigurations", "priorityClasses"),
}


def main() -> None:
    facts = json.loads(FACTS.read_text())
    for name, sections in FILES.items():
        parts = [
            f'"{section}": [\n' + ",\n".join(map(json.dumps, facts[section])) + "\n]" for section in sections
        ]
        (DATA / name).write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
