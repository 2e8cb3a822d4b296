# SPDX-License-Identifier: Apache-2.0
"""The compiled engine: from the program's C to packets, tables and counters of a running switch."""
