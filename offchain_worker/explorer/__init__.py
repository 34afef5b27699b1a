"""Looking at challenges: what the chain holds about one, and whether all of it follows."""
