"""Recordings that others wrote, in every format, and files that are made to do harm."""
