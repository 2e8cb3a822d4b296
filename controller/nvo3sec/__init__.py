# SPDX-License-Identifier: Apache-2.0
"""Control plane of a secure NVO3 overlay: network virtualization authority, NVE agents, operator commands."""
