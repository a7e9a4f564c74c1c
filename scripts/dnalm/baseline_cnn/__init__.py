"""A small convolutional network to compare with."""
