"""Pack the facts that are read at run time: Go's fields (for decoding), the protobuf tables, what columns mean.

Run with ``python -m generate.data``. What is written is never edited.
"""

import gzip
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "generate" / "facts"
TARGET = ROOT / "src" / "kybern" / "machinery" / "data"
KINDS = ROOT / "src" / "kybern" / "api" / "data"


def pack(name: str, value: Any, target: Path = TARGET) -> None:
    """Write compact JSON, compressed without a time stamp so that equal facts give equal files."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    (target / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    for folder in (TARGET, KINDS):
        folder.mkdir(exist_ok=True)
    pack("go_fields", json.loads((FACTS / "go_fields.json").read_text()))
    tables = json.loads((FACTS / "protobuf_fields.json").read_text())
    pack("protobuf", tables["packages"])
    pack("columns", json.loads((FACTS / "column_descriptions.json").read_text()), KINDS)


if __name__ == "__main__":
    main()
