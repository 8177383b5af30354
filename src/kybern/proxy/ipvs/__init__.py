"""Services by the kernel's virtual servers (IPVS)."""
