# SPDX-License-Identifier: Apache-2.0
"""What the overlay is, and what follows from it: pure functions and frozen values.

Nothing in here does I/O, reads a clock or draws a random number; whatever it needs of those is passed in.
"""
