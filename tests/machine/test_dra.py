"""hack/dra over real hardware: which functions the example DRA driver offers."""

from pathlib import Path

from hack.dra import links


def test_the_example_driver_offers_them(functions: tuple[str, list[str]]) -> None:
    """hack/dra --physical-function: the virtual functions and no other link, told apart by driver and hardware."""
    pf, virtual = functions
    address = Path(f"/sys/class/net/{pf}/device").resolve().name
    found = links.host_links("*", [address])
    assert sorted(found) == sorted(virtual)
    for name, link in found.items():
        said = links.slice_device(name, link).to_dict()["attributes"]
        assert said["driver"] == {"string": "igbvf"}
        assert said["physicalFunction"] == {"string": address}
