# SPDX-License-Identifier: Apache-2.0
"""Differential runs: the same program, entries and packets through two switches, and everything observable compared."""
