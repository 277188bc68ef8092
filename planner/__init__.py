"""What to run: fragments in, plan out.

Pure: no torch, no database, no HTTP, no clock other than a solve's time limit.
"""
