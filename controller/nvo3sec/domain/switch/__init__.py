# SPDX-License-Identifier: Apache-2.0
"""What the switch of an NVE holds, and what it should hold, as typed values. Pure."""
