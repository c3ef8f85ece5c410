"""Reference LoRA serving node: one base model, many adapters in one batch, measured and hash-identified."""

__version__ = "0.1.0"
