"""Pack the facts that the machinery reads at run time: Go's fields (for decoding) and the protobuf tables.

Run with ``python -m generate.data``. What is written is never edited.
"""

import gzip
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "generate" / "facts"
TARGET = ROOT / "src" / "kybern" / "machinery" / "data"


def pack(name: str, value: Any) -> None:
    """Write compact JSON, compressed without a time stamp so that equal facts give equal files."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    (TARGET / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    pack("go_fields", json.loads((FACTS / "go_fields.json").read_text()))
    tables = json.loads((FACTS / "protobuf_fields.json").read_text())
    pack("protobuf", tables["packages"])


if __name__ == "__main__":
    main()
