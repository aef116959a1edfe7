"""What is counted of rows with answers and gold labels: a tally, whose parts add up in any order, to the last bit."""
