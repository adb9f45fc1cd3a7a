"""The cases. Each is a function that takes a `Stage`, fails by raising, and returns what it has seen."""
