# SPDX-License-Identifier: Apache-2.0
"""What each NVE is told: its view of the domain, and the difference to what it has."""
