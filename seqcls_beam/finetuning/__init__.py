"""Fine-tuning: prepared shards + a base model → a checkpoint.

Knows no Beam. What a command imports before it trains (plan, recipe, job, transaction) imports no torch either.
"""
