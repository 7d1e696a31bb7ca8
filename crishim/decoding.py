"""NOT_JSON: the exceptions of msgspec.json.decode() for invalid input; two of the three are no DecodeError."""

import msgspec

NOT_JSON = (
    msgspec.DecodeError,  # ValidationError among them
    UnicodeDecodeError,  # a string that is not UTF-8
    RecursionError,  # nested a thousand deep
)
