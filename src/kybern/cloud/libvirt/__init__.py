"""libvirt as a cloud: machines are domains, zones are hypervisors."""
