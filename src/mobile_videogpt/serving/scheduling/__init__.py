"""The one thread that owns the model: who is next, whose answers are decoded together.

`scheduler` is the thread, `intake` reads a completion's videos and prompt, `answers` decodes,
`outbox` tells the event loops.
"""
