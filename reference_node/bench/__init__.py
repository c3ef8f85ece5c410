"""The node's bench: measure a machine as a LoRA serving node, and the node against its peers."""
