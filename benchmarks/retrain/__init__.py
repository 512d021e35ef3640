"""What `oddsound retrain` does with reviewed recordings of real machines."""
