"""Fine-tuning: prepared shards + a base model → a checkpoint."""
