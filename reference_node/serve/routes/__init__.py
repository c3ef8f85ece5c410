"""Routes by resource: completions, models, adapters, accounts, health."""
