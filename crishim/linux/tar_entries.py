"""Bounds the extended headers of untrusted tar archives, which tarfile reads into memory. tar(5)."""

import tarfile

MAX_HEADER = 1 << 20  # bytes of an extended header: long names and attributes
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class BoundedEntry(tarfile.TarInfo):
    """An entry whose extended headers are at most MAX_HEADER bytes each; tarfile.ReadError for a larger one."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > MAX_HEADER:
            raise tarfile.ReadError(f"an extended header of {self.size} bytes")
        return super()._proc_member(tarfile_)  # type: ignore[misc,no-any-return]
