# SPDX-License-Identifier: Apache-2.0
"""The store in SQLite, with secrets sealed under keys in another directory and a floor that it cannot fall below."""
