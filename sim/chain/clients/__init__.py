"""One client per contract: typed calls in, decoded events and errors out."""
