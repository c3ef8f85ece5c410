"""JSON-RPC over the chain class: what wallets and scripts expect of a node, for a development network of two chains.

Importing this package costs nothing; the web server and the encoders load when a network is served.
"""
