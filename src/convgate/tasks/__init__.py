"""What a network learns: a class of an image, objects with boxes and masks, a class a pixel."""
