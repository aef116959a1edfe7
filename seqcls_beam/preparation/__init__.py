"""Fine-tuning data: pure columnar steps from labelled records to shards. No Beam, no torch."""
