"""The model as a service: an OpenAI-compatible API for clients that may be wrong or hostile.

`settings` says what is allowed. `decoding` opens clients' files, in processes that may die of it.
`media` finds the bytes of a video, `dialogue` makes messages a prompt, `scheduling` is the
one thread that owns the model. Only `api`, `page` and `run` need the extra `serve`. `live` is for
the command line: it watches cameras and streams.
"""
