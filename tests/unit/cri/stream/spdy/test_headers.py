"""crishim/cri/stream/spdy/headers.py"""

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cri.stream.spdy.headers import DICTIONARY, MAX_BLOCK, BadHeaderBlock, HeaderCompressor, HeaderDecompressor

names = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"], include_characters="-:"), min_size=1, max_size=20)
headers = st.dictionaries(names, st.text(max_size=40), max_size=8)


def test_dictionary_is_the_drafts() -> None:
    """The zlib dictionary has the length and checksum every SPDY/3 peer announces."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(headers, max_size=6))
def test_blocks_round_trip_in_order(blocks: list[dict[str, str]]) -> None:
    """Every block comes back as it went in, over one pair of zlib streams."""
    sender, receiver = HeaderCompressor(), HeaderDecompressor()
    assert [receiver.decompress(sender.compress(b)) for b in blocks] == blocks


def test_names_are_lower_case_on_the_wire() -> None:
    """Kubernetes writes streamType; the draft demands lower case, so both meet there."""
    assert HeaderDecompressor().decompress(HeaderCompressor().compress({"streamType": "Data"})) == {
        "streamtype": "Data"
    }


def test_repeated_blocks_get_small() -> None:
    """The second identical block costs a fraction of the first: the zlib stream lives on."""
    sender = HeaderCompressor()
    block = {"streamtype": "stdout", "port": "31337", "requestid": "a-long-request-id"}
    first, second = len(sender.compress(block)), len(sender.compress(block))
    assert second < first / 2


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    """Bytes that are no block raise BadHeaderBlock and nothing else."""
    with contextlib.suppress(BadHeaderBlock):
        HeaderDecompressor().decompress(data)


@given(st.binary(max_size=60))
def test_well_compressed_garbage_is_refused(block: bytes) -> None:
    """A block that decompresses but does not parse raises BadHeaderBlock and nothing else."""
    deflate = zlib.compressobj(zdict=DICTIONARY)
    with contextlib.suppress(BadHeaderBlock):
        HeaderDecompressor().decompress(deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH))


def test_a_bomb_is_refused_early() -> None:
    """A small frame that would unpack to 100 MB is refused after 8 KiB."""
    deflate = zlib.compressobj(zdict=DICTIONARY)
    bomb = deflate.compress(bytes(100_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 200_000
    with pytest.raises(BadHeaderBlock, match=str(MAX_BLOCK)):
        HeaderDecompressor().decompress(bomb)
