"""Peers: OTE-1 as users of other engines write it, one file each; an engine is imported when it is asked for."""
