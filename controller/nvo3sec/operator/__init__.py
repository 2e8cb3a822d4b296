# SPDX-License-Identifier: Apache-2.0
"""What operators may ask and decide: calls, and what they are answered."""
