# SPDX-License-Identifier: Apache-2.0
"""What stands in front of a server's TLS port: which connections are let in, and how far each may go."""
