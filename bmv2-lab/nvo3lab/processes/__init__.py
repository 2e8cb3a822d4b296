# SPDX-License-Identifier: Apache-2.0
"""The processes that a lab starts, and what becomes of them."""
