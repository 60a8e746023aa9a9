"""What every layer may use: errors, limits, deadlines. Imports nothing of phalanx."""
