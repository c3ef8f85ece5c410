"""The HTTP face of the node: an OpenAI-compatible interface over one engine or over an upstream server."""
