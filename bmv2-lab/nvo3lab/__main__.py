# SPDX-License-Identifier: Apache-2.0
from nvo3lab.cli import main

main()
