from hypothesis import example, given
from hypothesis import strategies as st

from crishim.spec import accounts

# Of any characters hardly one text in a thousand has a line with four fields.
_file = st.text() | st.text("ab0129:,\n-+ ")


@given(_file)
@example("a:x:1:2\nb:x:-1:2\n:x:1:2\nc:x:3:2147483648")
def test_any_passwd_text_is_read_without_an_error(text: str) -> None:
    """The file is the image's: whatever is in it, parsing gives accounts with ids in range."""
    for account in accounts.parse_passwd(text):
        assert account.name
        assert 0 <= account.uid <= accounts.MAX_ID
        assert 0 <= account.gid <= accounts.MAX_ID


@given(_file)
@example("a:x:1:,b,\nb:x:-1:c\n:x:1:d")
def test_any_group_text_is_read_without_an_error(text: str) -> None:
    """The same for group; members are never empty names."""
    for group in accounts.parse_group(text):
        assert group.name
        assert 0 <= group.gid <= accounts.MAX_ID
        assert all(group.members)


_name = st.text(st.characters(exclude_characters=":\n,", exclude_categories=["Cs"]), min_size=1)
_id = st.integers(0, accounts.MAX_ID)


@given(st.lists(st.tuples(_name, _id, _id)))
def test_what_is_written_as_passwd_is_read_back(rows: list[tuple[str, int, int]]) -> None:
    """Well-formed lines come back in order, also around a line that is not."""
    text = "nonsense\n" + "".join(f"{n}:x:{u}:{g}:c:/:/bin/sh\n" for n, u, g in rows)
    assert accounts.parse_passwd(text) == [accounts.Account(*row) for row in rows]


@given(st.lists(st.tuples(_name, _id, st.lists(_name, max_size=3))))
def test_what_is_written_as_group_is_read_back(rows: list[tuple[str, int, list[str]]]) -> None:
    """Groups come back with their members."""
    text = "".join(f"{n}:x:{g}:{','.join(m)}\n" for n, g, m in rows)
    assert accounts.parse_group(text) == [accounts.Group(n, g, tuple(m)) for n, g, m in rows]


@given(st.text())
def test_only_plain_decimals_are_ids(text: str) -> None:
    """What int() would also take (signs, spaces, underscores, other scripts' digits) is no id."""
    number = accounts.parse_id(text)
    plain = bool(text) and all(c in "0123456789" for c in text) and len(text) <= 10 and int(text) <= accounts.MAX_ID
    assert (number is not None) == plain


def test_memberships_are_those_that_list_the_user() -> None:
    """A group's own name is no membership."""
    groups = accounts.parse_group("a:x:1:me,you\nme:x:2:\nb:x:3:me\n")
    assert accounts.memberships(groups, "me") == [1, 3]
