"""The page at `/`: hand-written HTML, CSS and ES modules, and the example clips it offers.

Needs the extra `serve`. The page speaks to the server as any other client does, over `/v1`; nothing
is loaded from other hosts, and nothing is built.
"""
