# SPDX-License-Identifier: Apache-2.0
"""What stands in front of every RPC handler: who calls, whether they may, and how often."""
