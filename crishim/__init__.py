"""crishim: a CRI runtime shim. docs/tour.md names the files in reading order."""

__version__ = "0.1.0"
