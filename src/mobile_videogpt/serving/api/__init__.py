"""The HTTP side: OpenAI's chat completions, models and files; needs the extra `serve`."""
