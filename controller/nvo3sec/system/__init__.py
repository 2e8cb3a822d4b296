# SPDX-License-Identifier: Apache-2.0
"""What any process here needs of its system and its interpreter."""
