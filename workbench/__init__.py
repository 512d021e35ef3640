"""What a person runs on their own machine: command line, training, evaluation."""
