# SPDX-License-Identifier: Apache-2.0
"""Tunnel keys at the NVA: their epochs, generations and lives, and what peers contribute to them."""
