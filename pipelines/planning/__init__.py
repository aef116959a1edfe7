"""What a run would take, found without writing anything: a sample, a speed, hours and a price."""
