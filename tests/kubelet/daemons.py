"""The long-running programs of the node: started into their control group, ended by number."""

import os
import subprocess
from pathlib import Path

import cgroups
from waiting import Failed

_ENDS_WITHIN = 20.0


class Daemon:
    """One running program, whose output goes into a file."""

    def __init__(self, command: list[str | Path], log: Path, path: str):
        self.name = Path(command[0]).name
        self.log = log
        # The times in its log are compared with those of others.
        environment = {**os.environ, "PATH": path, "TZ": "UTC"}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        cgroups.adopt(self._process.pid)

    def must_run(self) -> None:
        if (code := self._process.poll()) is not None:
            last = self.log.read_text(errors="replace").splitlines()[-5:]
            raise Failed(f"{self.name} ended with {code}; {self.log} ends with: " + " | ".join(last))

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_ENDS_WITHIN)
