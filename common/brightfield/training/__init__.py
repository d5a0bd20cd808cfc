"""Training from few images: samples, their alteration, and when to stop."""
