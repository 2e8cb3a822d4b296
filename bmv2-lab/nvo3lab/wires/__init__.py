# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, interfaces and wires between the parts of a lab, and who listens on them."""
