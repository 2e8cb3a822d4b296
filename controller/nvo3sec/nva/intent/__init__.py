# SPDX-License-Identifier: Apache-2.0
"""What the operator wants: the domain, who is shut out of it and who has let go of them, which tunnels are meant."""
