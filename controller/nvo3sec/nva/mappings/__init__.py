# SPDX-License-Identifier: Apache-2.0
"""The mapping service: which tenant system is behind which NVE, and which numbers stand for what."""
