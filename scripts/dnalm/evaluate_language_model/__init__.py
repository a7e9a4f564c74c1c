"""How well a language model predicts held-out DNA."""
