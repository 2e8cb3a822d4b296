# SPDX-License-Identifier: Apache-2.0
"""The processes: each puts together what runs in it, and ends it in order."""
