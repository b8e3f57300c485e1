"""The model workshop: rebuilds the int8 detector from its published source. Start it with ../rebuild."""
