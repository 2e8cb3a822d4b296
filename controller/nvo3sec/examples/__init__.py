# SPDX-License-Identifier: Apache-2.0
"""Complete domain files to start from."""
