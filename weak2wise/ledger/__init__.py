"""What is never lost: stage outcomes and paid answers in append-only JSONL shards, a manifest and a lock."""
