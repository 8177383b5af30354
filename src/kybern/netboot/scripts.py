"""What iPXE is told, as its scripts. Pure."""

from kybern.netboot.wanted import Served, Wanted

FIRST = "boot.ipxe"
KERNEL, INITRD, IMAGE = "vmlinuz", "installer.img", "root.tar.zst"
LOCAL = (
    "#!ipxe\n"
    "echo Kybern: {name} is installed, and starts from its disk\n"
    # A success would end the search for what to start, by UEFI's rules; a failure has the firmware go on to the disk.
    "exit 1\n"
)


def first(url: str) -> str:
    """For everybody: ask again by the address of the card that was booted from."""
    return f"#!ipxe\nchain {url}/machines/${{netX/mac:hexhyp}}/boot || exit 1\n"


def of_machine(url: str, machine: Wanted) -> str:
    """Where a machine's own answers are."""
    return f"{url}/machines/{machine.mac.replace(':', '-')}"


def install(served: Served, machine: Wanted, ticket: str) -> str:
    words = (
        # Where the firmware is UEFI, the kernel finds its initrd by this name.
        f"initrd={INITRD} boot=kybern",
        f"kybern.server={of_machine(served.url, machine)}",
        f"kybern.mac={machine.mac} kybern.address={machine.address} kybern.ticket={ticket}",
        served.kernel,
    )
    return (
        "#!ipxe\n"
        f"echo Kybern: {machine.name} is installed from {served.url}\n"
        f"kernel {served.url}/files/{KERNEL} {' '.join(words).strip()} || exit 1\n"
        f"initrd {served.url}/files/{INITRD} || exit 1\n"
        "boot || exit 1\n"
    )


def local(machine: Wanted) -> str:
    return LOCAL.format(name=machine.name)
