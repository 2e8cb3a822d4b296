# SPDX-License-Identifier: Apache-2.0
"""A small certificate authority for labs, and the device's side of getting a certificate."""
