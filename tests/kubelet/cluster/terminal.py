"""A program on a terminal of its own, and the person before it."""

import contextlib
import os
import select
import subprocess
import termios
import time


class Terminal:
    def __init__(self, *command: str, rows: int = 24, columns: int = 80) -> None:
        self._master, slave = os.openpty()
        self.resize(rows, columns)
        session = ["setsid", "--ctty", "--wait"]  # the terminal controls it: ^C and changes of size become signals
        self.process = subprocess.Popen([*session, *command], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.text = ""

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._master, (rows, columns))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str, seconds: float = 60) -> None:
        """Wait for a text after the last one that was found."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert select.select([self._master], [], [], deadline - time.monotonic())[0], f"{text!r}: {self.text!r}"
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # EIO: nobody has it open any more
                raise AssertionError(f"the program ended without {text!r}: {self.text!r}") from None
        self.text = self.text.partition(text)[2]

    def end(self, seconds: float = 60) -> int:
        """The exit code, once the program ends by itself."""
        code = self.process.wait(seconds)
        self.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        with contextlib.suppress(OSError):
            os.close(self._master)
        self._master = -1
