"""What a run was worth, for people to read: score tables, curves, pictures, and the page that holds them."""
