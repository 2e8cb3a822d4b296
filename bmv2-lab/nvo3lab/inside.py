# SPDX-License-Identifier: Apache-2.0
"""`python -m nvo3lab.inside PID COMMAND...`: a command in the network namespace of a process of the lab."""

import os
import sys

from nvo3lab import linux


def main() -> None:
    pid, command = int(sys.argv[1]), sys.argv[2:]
    linux.enter_namespaces_of(pid)
    os.execv(command[0], command)  # noqa: S606 - the lab's own command lines


main()
