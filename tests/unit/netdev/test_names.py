"""Interface names: legal ones, templates, fallbacks, labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.netdev import names


@pytest.mark.parametrize("name", ["a", "net1", "x" * 15, "é" * 7, "net%d", "n" * 14 + "%d", "a.b", "-", "..."])
def test_legal_names(name: str) -> None:
    """1 to 15 bytes, a template counted with one digit."""
    names.check_name(name, "demo0")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a:b",
        "a b",
        "a\tb",
        "a\nb",
        "a\x00b",
        "x" * 16,
        "é" * 8,
        "%d%d",
        "100%",
        "a%s",
        "n" * 15 + "%d",
    ],
)
def test_illegal_names(name: str) -> None:
    """INVALID, with the name and the device it was meant for in the text."""
    with pytest.raises(CrishimError, match="demo0") as caught:
        names.check_name(name, "demo0")
    assert caught.value.kind is Kind.INVALID


@pytest.mark.parametrize("name", ["eth0", "lo"])
def test_reserved_names(name: str) -> None:
    """eth0 is the pod network's, lo the kernel's: PRECONDITION."""
    with pytest.raises(CrishimError) as caught:
        names.check_name(name, "demo0")
    assert caught.value.kind is Kind.PRECONDITION


@pytest.mark.parametrize(
    ("name", "taken", "expanded"),
    [
        ("net1", {"net1"}, "net1"),
        ("net%d", set(), "net0"),
        ("net%d", {"net0", "net1", "net3"}, "net2"),
        ("eth%d", set(), "eth1"),
        ("a%db", {"a0b"}, "a1b"),
    ],
)
def test_templates(name: str, taken: set[str], expanded: str) -> None:
    """The lowest number that is free and not reserved; a plain name is itself."""
    assert names.expand(name, taken, "demo0") == expanded


def test_a_template_that_outgrows_its_length() -> None:
    """INVALID when the first free number does not fit."""
    taken = {"n" * 14 + str(i) for i in range(10)}
    with pytest.raises(CrishimError) as caught:
        names.expand("n" * 14 + "%d", taken, "demo0")
    assert caught.value.kind is Kind.INVALID


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/: \t\n"), min_size=1, max_size=15))
def test_a_fallback_fits_and_is_the_same_each_time(name: str) -> None:
    """At most 15 bytes, free, and a function of name and attachment."""
    first = names.fallback(name, "0123456789abcdef", lambda _: False)
    assert len(first.encode()) <= 15
    assert first == names.fallback(name, "0123456789abcdef", lambda _: False)
    second = names.fallback(name, "0123456789abcdef", lambda candidate: candidate == first)
    assert second != first


def test_no_name_left() -> None:
    """EXHAUSTED when every fallback is taken."""
    with pytest.raises(CrishimError) as caught:
        names.fallback("demo0", "0123456789abcdef", lambda _: True)
    assert caught.value.kind is Kind.EXHAUSTED


@pytest.mark.parametrize(
    ("label", "new", "expected"),
    [
        ("demo0", "net1", "net1"),
        ("demo0:1", "net1", "net1:1"),
        ("demo0:web", "n" * 11, "n" * 11 + ":web"),
        ("demo0:web", "n" * 12, "n" * 12),
        ("unrelated", "net1", "net1"),
    ],
)
def test_labels(label: str, new: str, expected: str) -> None:
    """The suffix is kept if it fits in 15 bytes; anything else becomes the new name."""
    assert names.relabel(label, new) == expected


@pytest.mark.parametrize(
    ("character", "legal"), [("\x1f", False), ("\x20", False), ("!", True), ("\x7f", False), ("\x80", True)]
)
def test_control_characters(character: str, legal: bool) -> None:
    """0 to 31 and 127; 128 is one that UTF-8 writes in two bytes, as any other letter."""
    name = f"a{character}b"
    if legal:
        names.check_name(name, "demo0")
        return
    with pytest.raises(CrishimError, match="is no interface name"):
        names.check_name(name, "demo0")


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(CrishimError, match="is no text") as caught:
        names.check_name("\ud800", "demo0")
    assert caught.value.kind is Kind.INVALID


def test_a_template_counts_as_one_digit() -> None:
    """Only its first %d: what is left of a second one is illegal, and is called that whatever its length."""
    names.check_name("n" * 14 + "%d", "demo0")
    with pytest.raises(CrishimError, match="has 16 bytes"):
        names.check_name("n" * 15 + "%d", "demo0")
    with pytest.raises(CrishimError, match="has 16 bytes"):
        names.check_name("n" * 13 + "%d%d", "demo0")


def test_fallbacks_in_order() -> None:
    """Ten bytes of the old name, and four digits of the id from each place, to its end."""
    asked: list[str] = []
    with pytest.raises(CrishimError):
        names.fallback("a-long-name-0", "01234567", lambda x: not asked.append(x))  # type: ignore[func-returns-value]
    assert asked == [f"a-long-nam-{d}" for d in ("0123", "1234", "2345", "3456", "4567")]
