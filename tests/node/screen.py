"""The user's side of a terminal."""

import asyncio
import os
import signal

from crishim.linux import terminals


class Screen:
    """Reads what a program on a terminal shows, and types."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.master = master
        self._process = process
        os.set_blocking(master, False)
        self.text = ""

    async def expect(self, text: str, seconds: float = 15) -> str:
        """Wait for a text after the last one that was found; what stood before it."""
        try:
            async with asyncio.timeout(seconds):
                while text not in self.text:
                    await self._read()
        except TimeoutError:
            raise AssertionError(f"{text!r} did not appear, only {self.text!r}") from None
        before, _, self.text = self.text.partition(text)
        return before

    async def _read(self) -> None:
        try:
            self.text += os.read(self.master, 65536).decode(errors="replace")
        except (BlockingIOError, OSError):
            await asyncio.sleep(0.01)

    def resize(self, width: int, height: int) -> None:
        terminals.resize(self.master, width, height)
        self._process.send_signal(signal.SIGWINCH)  # the kernel would, if it were the controlling terminal

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        os.close(self.master)
