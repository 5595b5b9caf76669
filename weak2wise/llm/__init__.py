"""Everything that talks to a language model: one protocol, its endpoints, and their wrappers."""
