# SPDX-License-Identifier: Apache-2.0
"""The compiled P4 program: where it is, whether it is what it should be, and its names in Python."""
