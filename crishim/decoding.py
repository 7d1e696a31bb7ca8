"""What msgspec raises for bytes that are not the JSON they should be: two of the three are not its DecodeError."""

import msgspec

NOT_JSON = (
    msgspec.DecodeError,  # ValidationError among them
    UnicodeDecodeError,  # a string that is not UTF-8
    RecursionError,  # nested a thousand deep
)
