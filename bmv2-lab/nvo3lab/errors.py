# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the lab.

LabError
├── UsageError        the command line is wrong (exit status 2; of all others 1)
├── AbsentError       no such lab is up, or it has not what was named
├── PreflightError    this machine lacks something; the message says what to do
├── ProcessError      a process of the lab ended, or did not become ready in time
│   └── GuardianGone  the guardian has ended, and every process of the lab with it
├── RemoteError       a process of the lab refused or failed a request
└── SwitchError       a switch answered P4Runtime with something unusable
"""

from __future__ import annotations


class LabError(Exception):
    """Base of every error that the lab raises on purpose."""


class UsageError(LabError):
    """The command line is wrong, whatever runs."""


class AbsentError(LabError):
    """No lab of the name is up, or it has no host or process of the name."""


class PreflightError(LabError):
    """This machine lacks something that the lab needs."""


class ProcessError(LabError):
    """A process of the lab ended, or did not become ready in time."""


class GuardianGone(ProcessError):
    """The guardian of the lab has ended, and every process of the lab with it."""


class RemoteError(LabError):
    """A process of the lab refused or failed a request."""


class SwitchError(LabError):
    """A switch answered P4Runtime with something unusable."""


def words_of(error: Exception) -> str:
    """What an error says, for whoever asked: without Python's name for it where it says enough."""
    if isinstance(error, OSError):
        about = f": {error.filename}" if error.filename else ""
        return (error.strerror or str(error) or "it took too long") + about
    if isinstance(error, LabError | ValueError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}"
