# SPDX-License-Identifier: Apache-2.0
"""A tenant system as a process: with the kernel's stack in a network namespace, or with a small stack of its own."""
