"""The kernel's text formats: flat keys, single values, pressure, block io, network devices.

All take bytes as read and skip what they do not know: kernels add keys and lines.
"""

from crishim.stats.measurements import Interface, Io, Pressure, Stall

UNLIMITED = 1 << 62  # v1 says "no limit" with a number near 2^63, rounded to a page


def keys(text: bytes) -> dict[bytes, int]:
    """`key value` lines (memory.stat, cpu.stat, memory.events)."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(b" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def number(text: bytes | None) -> int:
    """A file of one number; 0 if it is missing or something else."""
    value = (text or b"").strip()
    return int(value) if value.isdigit() else 0


def limit(text: bytes | None) -> int | None:
    """A file of one limit; None for unlimited ("max", v1's huge number) and for a missing file."""
    value = (text or b"").strip()
    if not value.isdigit() or int(value) >= UNLIMITED:
        return None
    return int(value)


def pressure(text: bytes | None) -> Pressure | None:
    """A pressure file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and the same for full; None without lines.

    The kernel counts microseconds.
    """
    lines = {}
    for line in (text or b"").splitlines():
        kind, *pairs = line.split() or [b""]
        values = dict(p.split(b"=", 1) for p in pairs if b"=" in p)
        try:
            lines[kind] = Stall(
                float(values[b"avg10"]),
                float(values[b"avg60"]),
                float(values[b"avg300"]),
                int(values[b"total"]) * 1000,
            )
        except (KeyError, ValueError):
            continue
    if not lines:
        return None
    return Pressure(some=lines.get(b"some", Stall()), full=lines.get(b"full", Stall()))


def io_stat(text: bytes) -> list[Io]:
    """io.stat of v2: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`."""
    found = []
    for line in text.splitlines():
        device, *pairs = line.split() or [b""]
        numbers = _device(device)
        if numbers is None:
            continue
        values = {k: int(v) for k, _, v in (p.partition(b"=") for p in pairs) if v.isdigit()}
        found += [
            Io(*numbers, operation, values.get(letter + b"bytes", 0), values.get(letter + b"ios", 0))
            for letter, operation in ((b"r", "Read"), (b"w", "Write"), (b"d", "Discard"))
        ]
    return found


def blkio(transferred: bytes, operations: bytes) -> list[Io]:
    """blkio.*.io_service_bytes and io_serviced of v1: `8:0 Read 4096` lines."""
    found: dict[tuple[int, int, str], list[int]] = {}
    for column, text in enumerate((transferred, operations)):
        for line in text.splitlines():
            fields = line.split()
            numbers = _device(fields[0]) if len(fields) == 3 else None
            if numbers is None or fields[1] not in (b"Read", b"Write", b"Discard") or not fields[2].isdigit():
                continue
            found.setdefault((*numbers, fields[1].decode()), [0, 0])[column] = int(fields[2])
    return [Io(major, minor, op, size, count) for (major, minor, op), (size, count) in found.items()]


def interfaces(text: bytes) -> list[Interface]:
    """/proc/net/dev, without lo: two lines of headings, then `name: ` and 8 counters received, 8 transmitted."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.rpartition(b":")  # a colon may be part of a name
        c = [int(v) for v in rest.split() if v.isdigit()]
        if len(c) < 12 or name.strip() == b"lo":
            continue
        found.append(
            Interface(
                name.strip().decode(errors="replace"),
                rx_bytes=c[0],
                rx_packets=c[1],
                rx_errors=c[2],
                rx_dropped=c[3],
                tx_bytes=c[8],
                tx_packets=c[9],
                tx_errors=c[10],
                tx_dropped=c[11],
            )
        )
    return found


def _device(text: bytes) -> tuple[int, int] | None:
    major, _, minor = text.partition(b":")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
