"""What goes wrong around machines, each told in one line that names the value and the remedy."""


class MachineError(Exception):
    """A problem that its reader can mend. The CLI prints it as one line and exits with 1."""


class TopologyError(MachineError):
    """A topology file that says something impossible; the message starts with FILE:LINE."""
