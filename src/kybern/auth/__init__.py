"""Who is asking and what they may do: x509 and token identity, RBAC. Pure."""
