"""Writes of a status that leave the rest of an object alone, its metadata included."""

from kybern.machinery.kind import Raw

_KEPT = ("labels", "annotations", "finalizers", "ownerReferences")


def keep_labels(new: Raw, old: Raw) -> None:
    """A deployment's status takes annotations, but no labels."""
    new["metadata"].pop("labels", None)
    if "labels" in old["metadata"]:
        new["metadata"]["labels"] = old["metadata"]["labels"]


def keep_metadata(new: Raw, old: Raw) -> None:
    """Some kinds take nothing but the status through that subresource; most take labels and annotations, too."""
    fresh, stored = new["metadata"], old["metadata"]
    for key in _KEPT:
        fresh.pop(key, None)
        if key in stored:
            fresh[key] = stored[key]
