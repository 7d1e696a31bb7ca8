"""Which links the example DRA driver offers, over a sysfs of files, and what claims can pick them by."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.dra import links

PF, OTHER = "0000:01:00.0", "0000:02:00.0"
EXAMPLE = Path(__file__).parents[3] / "hack/dra/virtual-function.yaml"


def shown(name: str, kind: str = "", addresses: tuple[str, ...] = ()) -> dict[str, Any]:
    """A link as `ip -j -d addr` has it."""
    info = [dict(zip(("local", "prefixlen"), a.split("/"), strict=True), scope="global") for a in addresses]
    said: dict[str, Any] = {"ifname": name, "address": "02:00:00:00:00:01", "mtu": 1500, "addr_info": info}
    return said | ({"linkinfo": {"info_kind": kind}} if kind else {})


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two physical functions, ens1 and ens2, and a virtual one of each: ens1v0, ens2v0."""
    for pf, virtual, name in ((PF, "0000:01:10.0", "ens1"), (OTHER, "0000:02:10.0", "ens2")):
        for address, driver, called in ((pf, "igb", name), (virtual, "igbvf", f"{name}v0")):
            device = tmp_path / "devices" / address
            device.mkdir(parents=True)
            (tmp_path / "drivers" / driver).mkdir(parents=True, exist_ok=True)
            (device / "driver").symlink_to(tmp_path / "drivers" / driver)
            (tmp_path / "class/net" / called).mkdir(parents=True)
            (tmp_path / "class/net" / called / "device").symlink_to(device)
        (tmp_path / "devices" / virtual / "physfn").symlink_to(tmp_path / "devices" / pf)
    monkeypatch.setattr(links, "SYSFS", tmp_path)
    return tmp_path


HOST = [
    shown("ens1"),
    shown("ens1v0", addresses=("192.0.2.7/24",)),
    shown("ens2"),
    shown("ens2v0"),
    shown("t0", "veth"),
]


@pytest.mark.parametrize(
    ("pattern", "physical", "names"),
    [
        ("*", (), {"ens1", "ens1v0", "ens2", "ens2v0", "t0"}),
        ("*", (PF,), {"ens1v0"}),
        ("*", (PF, OTHER), {"ens1v0", "ens2v0"}),
        ("ens2*", (PF, OTHER), {"ens2v0"}),
        ("*", ("0000:03:00.0",), set()),
        ("t*", (), {"t0"}),
    ],
)
def test_what_is_offered(sysfs: Path, pattern: str, physical: tuple[str, ...], names: set[str]) -> None:
    """By name; with a physical function its virtual ones alone, and never itself."""
    assert set(links.select(HOST, pattern, physical)) == names


def test_what_a_claim_can_pick_by(sysfs: Path) -> None:
    """Where the function is and whose it is; a link without hardware has neither."""
    found = {n: links.slice_device(n, x).attributes or {} for n, x in links.select(HOST, "*").items()}
    told = {key: value.string or value.int for key, value in found["ens1v0"].items()}
    assert told == {
        "interface": "ens1v0",
        "mac": "02:00:00:00:00:01",
        "mtu": 1500,
        "driver": "igbvf",
        "pciAddress": "0000:01:10.0",
        "physicalFunction": PF,
        "ipv4": "192.0.2.7/24",
    }
    assert "physicalFunction" not in found["ens1"]
    assert not {"pciAddress", "physicalFunction"} & set(found["t0"])


def test_the_example_asks_for_what_is_there() -> None:
    """Its selector names attributes that slices have."""
    claim = next(iter(yaml.safe_load_all(EXAMPLE.read_text())))
    (selector,) = claim["spec"]["devices"]["requests"][0]["exactly"]["selectors"]
    assert selector["cel"]["expression"].count("physicalFunction") == 2
    assert PF in selector["cel"]["expression"]
