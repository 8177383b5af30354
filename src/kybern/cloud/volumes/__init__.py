"""Block volumes of a cloud: the storage driver (CSI) volumes.kybern.io (docs/adr/0035).

    claims, volumes, attachments ─> controllers (pure) ─> errands ─> the cloud's part "volumes"
    kubelet ─> plugin (Identity, Node, registration) ─> devices: found, formatted, mounted, grown

One process of the masters that leads does what external-provisioner, -attacher, -resizer and -snapshotter do with a
driver's controller; there is no gRPC between them, since the cloud's part has the driver's place. The plugin runs on every
node, and asks neither the API server nor the cloud.
"""
