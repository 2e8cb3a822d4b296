# SPDX-License-Identifier: Apache-2.0
"""What the packet tests stand on: switch processes, P4Runtime, data-plane ports, and the comparison of what came
out."""
