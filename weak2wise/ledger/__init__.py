"""Everything durable: append-only JSONL shards, the outcomes of stages in them, a manifest and a lock."""
