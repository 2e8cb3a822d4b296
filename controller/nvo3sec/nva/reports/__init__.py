# SPDX-License-Identifier: Apache-2.0
"""What operators are told: what agents report, and what went wrong here with one of them."""
