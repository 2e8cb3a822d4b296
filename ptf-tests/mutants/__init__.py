# SPDX-License-Identifier: Apache-2.0
"""Mutants of the P4 program: every check taken out by itself, to see that a packet test notices."""
