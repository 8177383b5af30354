"""Data of every machine. What a topology says of a machine comes from its inventory, and what a role sets from the role."""

# A machine that has just booted may refuse once.
ssh_connect_retries = 2
