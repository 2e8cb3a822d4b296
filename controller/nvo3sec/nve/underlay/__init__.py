# SPDX-License-Identifier: Apache-2.0
"""What an NVE knows of the underlay beneath it."""
