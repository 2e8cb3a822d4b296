# SPDX-License-Identifier: Apache-2.0
"""The C runtime of the compiled data plane."""
