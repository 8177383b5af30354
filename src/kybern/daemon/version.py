"""Which Kubernetes this is: the API that is spoken, and the mark of who speaks it."""

VERSION = "v1.36.2-kybern"
