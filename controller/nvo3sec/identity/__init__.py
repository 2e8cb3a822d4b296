# SPDX-License-Identifier: Apache-2.0
"""Who the devices are, and how every control interface makes sure of it: X.509, mutual TLS 1.3, authorization."""
