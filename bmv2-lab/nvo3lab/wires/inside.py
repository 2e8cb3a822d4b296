# SPDX-License-Identifier: Apache-2.0
"""`python -m nvo3lab.wires.inside PARENT PID COMMAND...`: a command in the network namespace of a process of the lab.

The command ends with PARENT, the process that starts it, however that ends: what is left of a lab that was killed must
not go on writing keys into its run directory. PID is 0 for the namespace that this process is in.
"""

from __future__ import annotations

import os
import sys

from nvo3lab.wires import linux


def main() -> None:
    parent, pid, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if pid:
        linux.enter_namespaces_of(pid)
    linux.die_with_parent(parent)  # last: to enter a user namespace takes the wish back
    os.execv(command[0], command)  # noqa: S606 - the lab's own command lines


main()
