# SPDX-License-Identifier: MIT
"""What tools/bench and tools/bars are made of; run as nothing by itself.

allocators and machine say what is measured and on what; suite reads bench/suite.toml; runner runs; results answers
questions about what was measured, with stats; report, plots and compare show it.
"""
