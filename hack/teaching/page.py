"""A page whose outputs are made: below a line `<!-- made: NAME -->` stands a block, whose text is the output NAME."""

import re
from collections.abc import Mapping

_BLOCK = re.compile(r"(?<=^<!-- made: )([\w-]+)( -->\n```\w*\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)


def outputs(page: str) -> dict[str, str]:
    """Name -> text, in the page's order."""
    return {name: body for name, _, body in _BLOCK.findall(page)}


def renewed(page: str, made: Mapping[str, str]) -> str:
    """The page with each block's text as it was made. Raises KeyError for a block that nothing makes."""
    return _BLOCK.sub(lambda found: f"{found[1]}{found[2]}{made[found[1]].rstrip()}\n", page)
