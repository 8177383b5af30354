"""cloud-controller-manager: what nodes, services and routes need of the cloud that the machines run in (docs/adr/0034)."""
