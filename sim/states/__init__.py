"""State of the phases: dataclasses of arrays, one file per part of the economy."""
