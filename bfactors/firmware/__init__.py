"""Firmware-signing trust: which manufacturer roots chargers hold, and how signed updates went. It issues nothing.

A house of its own: it imports nothing of purposes, bundles, policies or issuance, and nothing operational imports it.
The places where the two are put side by side are named in `tests/architecture/test_firmware_apart.py`.
"""
