# SPDX-License-Identifier: Apache-2.0
"""A log file that another program may move away."""

from __future__ import annotations

import logging
from contextlib import suppress

_LOG = logging.getLogger(__name__)


class LogFile(logging.FileHandler):
    """Appends to a file, and makes one of that name anew when it is told to: logrotate(8) moves the old one first."""

    def reopen(self) -> None:
        """Go on in a new file, and say so there. If there can be none, the old one goes on, and has an error in it."""
        self.acquire()
        try:
            old, failure = self.stream, None
            try:
                self.stream = self._open()
            except OSError as error:
                failure = error
            else:
                if old is not None:
                    with suppress(OSError):  # what the disk had no room for is lost; the file is closed
                        old.close()
        finally:
            self.release()
        if failure is None:
            _LOG.info("log file opened anew")
        else:
            _LOG.error("%s cannot be opened anew: %s; what was open goes on", self.baseFilename, failure.strerror)

    def close(self) -> None:
        """What the disk has no room for is lost, and is no reason to fail."""
        with suppress(OSError):
            super().close()
